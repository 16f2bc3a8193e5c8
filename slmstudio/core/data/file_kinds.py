"""What a file is, by its first bytes and what an archive holds, whatever its name says."""

from __future__ import annotations

import zipfile
from collections.abc import Collection
from itertools import islice

from slmstudio.core.data.read_options import ReadOptions
from slmstudio.core.data.row_texts import is_lines
from slmstudio.core.data.source import IN_MODEL_TAB, OLD_OFFICE, Source
from slmstudio.core.data.sources import header, packed, tables
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr

PDF = b"%PDF-"
PDF_MAY_BEGIN = b"\xef\xbb\xbf\0 \t\r\n\f"


_IN_ZIP = {"xl/workbook.xml": "xlsx", "xl/workbook.bin": "xlsb", "word/document.xml": "docx", "content.xml": "ods"}


def zip_format(names: Collection[str]) -> str:
    """What a ZIP archive is, by what is in it: "" for one that just holds files."""
    found = next((kind for name, kind in _IN_ZIP.items() if name in names), "")
    return found or ("pkl" if any(name.endswith("data.pkl") for name in names) else "")


def binary_format(source: Source, head: bytes) -> str:
    """The format of a file that isn't text, "" for text.

    Raises:
        UserError: it is a program's own file that can't be read here.
    """
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith((b"ARROW1", b"\xff\xff\xff\xff")):
        return "arrow"
    # Readers of PDF look for its mark in the first 1,024 bytes.
    if head.lstrip(PDF_MAY_BEGIN).startswith(PDF) or (source.suffix == ".pdf" and PDF in head[:1024]):
        return "pdf"
    if source.suffix == ".pdf":
        raise UserError(tr("{name} is a damaged PDF file.", name=source.name),
                        tr("It doesn't begin as a PDF file does."), tr("Copy or download it again."))
    if head.startswith(OLD_OFFICE) and source.suffix in (".xls", ".xlsx", ".xlsm"):
        return "xls"
    if not head.startswith(packed.ZIP):
        return ""
    with zipfile.ZipFile(source.seekable()) as opened:
        names = opened.namelist()
    found = zip_format(names)
    if found == "pkl":
        raise UserError(tr("{name} isn't a dataset: it's a PyTorch file.", name=source.name), "", tr(IN_MODEL_TAB))
    if not found:
        raise UserError(tr("{name} is an archive within an archive.", name=source.name), "",
                        tr(packed.UNPACK))
    if found == "ods" and source.suffix == ".odt":
        raise UserError(tr("{name} is an OpenDocument text.", name=source.name),
                        tr("Text is read from Word and PDF files."), tr("Save it as .docx, and open that file."))
    return found


def has_lines(first: bytes) -> bool:
    return is_lines(first) and b"\n" in first.strip()


def delimiter(first: bytes, suffix: str, options: ReadOptions) -> str:
    """What separates the columns of a text that begins so; "" of one that isn't a table.

    A text by its name is one only where each line has a tab behind something short, or its columns are called as
    questions and answers are; a file of unknown name where its first row holds names.
    """
    is_text = suffix in (".txt", ".text")
    if suffix in (".tsv", ".tab") or (is_text and tables.is_by_tabs(first)):
        return "\t"
    found = tables.delimiter_of(first)
    if suffix == ".csv" or (options.header is not None and options.text_by is None):
        return found
    if options.text_by is not None:
        return ""
    if suffix in (".md", ".markdown"):
        return "|" if tables.is_of_markdown(first) else ""
    begin = first[:1 << 16].rpartition(b"\n")[0] or first
    rows = [row.cells for row in islice(tables.table_rows(iter([begin]), found), 20) if row.trouble is None]
    is_table = len(rows) > 1 and len(rows[0]) > 1 and len({len(cells) for cells in rows}) == 1 and (
        header.names_both(rows[0]) if is_text else header.is_header(rows))
    return found if is_table else ""
