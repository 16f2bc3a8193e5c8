"""The text of PDF and Word files, for training on plain text."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from slmstudio.core.data.sources import packed
from slmstudio.core.data.sources.row import Raw
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr

_HYPHEN = re.compile(r"(?<=[^\W\d_])(?:\u00ad|\ufffe|\u0002|-)\n(?=[a-z])")
"""A word that a line break divides."""


def pdf_rows(file: BinaryIO, name: str, check: Callable[[], None]) -> Iterator[Raw]:
    """The text of each page that has some.

    Args:
        check: called before each page; may raise.

    Raises:
        UserError: it is locked or damaged, or its pages are pictures.
    """
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(file)
    except pypdfium2.PdfiumError as error:
        if "password" in str(error).lower():
            raise UserError(tr("{name} has a password.", name=name), "",
                            tr("Save a copy without a password, and open that.")) from error
        raise UserError(tr("{name} is a damaged PDF file.", name=name),
                        tr("Opening it ended with: {error}.", error=error), tr("Copy or download it again.")) from error
    any_text = False
    try:
        for number in range(len(document)):
            check()
            text = _page_text(document, number)
            if text.strip():
                any_text = True
                yield Raw({"text": text}, number + 1)
    except pypdfium2.PdfiumError as error:
        raise UserError(tr("{name} is a damaged PDF file.", name=name),
                        tr("Reading page {number} ended with: {error}.", number=number + 1, error=error),
                        tr("Copy or download it again.")) from error
    finally:
        document.close()
    if not any_text:
        raise UserError(tr("{name} holds no text.", name=name),
                        tr("Its pages are pictures, like those of a scanned document."),
                        tr("Run text recognition (OCR) on it, and open the result."))


def _page_text(document: Any, number: int) -> str:
    page = document[number]
    text_page = page.get_textpage()
    text = str(text_page.get_text_range()).replace("\r\n", "\n")
    text_page.close()
    page.close()
    return _HYPHEN.sub("", text)


def word_rows(file: BinaryIO, name: str) -> Iterator[Raw]:
    """The paragraphs of a Word document and the rows of its tables, each with its number.

    Raises:
        UserError: it is damaged.
    """
    import docx
    from docx.table import Table

    try:
        with zipfile.ZipFile(file) as opened:
            for info in opened.infolist():
                packed.check_growth(info.file_size, info.compress_size, name)
        file.seek(0)
        document = docx.Document(file)
        number = 0
        for block in document.iter_inner_content():
            texts = [block.text] if not isinstance(block, Table) else [
                "\t".join(cell.text for cell in row.cells) for row in block.rows]
            for text in texts:
                number += 1
                if text.strip():
                    yield Raw({"text": text}, number)
    except UserError:
        raise
    except Exception as error:  # python-docx raises whatever its XML happens to lack
        raise UserError(tr("{name} is a damaged Word document.", name=name),
                        tr("Reading it ended with: {error}.", error=f"{type(error).__name__}: {error}"),
                        tr("Open it in your word processor, and save it again.")) from error
