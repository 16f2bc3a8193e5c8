"""The text of PDF and Word files, and the questions with answers of Word files and web pages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from itertools import chain, islice, pairwise
from typing import Any, BinaryIO

from slmstudio.core.data import packed
from slmstudio.core.data.candidates import Candidate, Evidence, Part
from slmstudio.core.data.column_names import ask_and_answer
from slmstudio.core.data.read_options import ReadOptions
from slmstudio.core.data.source import PAGE_SUFFIXES, Source
from slmstudio.core.data.sources import questions, texts
from slmstudio.core.data.sources.labels import BOLD, Line
from slmstudio.core.data.sources.row import Raw
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import ntr, tr

LOOKED_AT = 20
"""Pages that tell whether a PDF file holds questions with answers."""
MOST_PAGES = 12
"""Numbers of pages that a note names."""
_HYPHEN = re.compile(r"(?<=[^\W\d_])(?:\u00ad|\ufffe|\u0002|-)\n(?=[a-z])")
"""A word that a line break divides."""

_HIDDEN = re.compile(r"<(footer|head|nav|noscript|script|select|style|svg|template)\b.*?</\1\s*>|<!--.*?-->|<![^>]*>",
                     re.DOTALL | re.IGNORECASE)
_BOLD_TAG = re.compile(r"</?(?:b|strong)(?:\s[^>]*)?>", re.IGNORECASE)
_INLINE = re.compile(r"</?(?:a|abbr|bd[io]|cite|code|em|font|i|img|kbd|label|mark|q|s|small|span|su[bp]|time|u|wbr)"
                     r"(?:[\s/][^>]*)?>", re.IGNORECASE)
_BLOCK = re.compile(r"([^<]*)(<(/?\w*)[^>]*>?|$)")
"""Text up to a tag that ends its line, and the name of the tag."""
_TERMS = 4
"""Headings with a text below them; a page with fewer hardly explains terms, or answers questions."""
_LEVELS = {"button": BOLD, "dt": BOLD, "summary": BOLD} | {f"h{level}": level for level in range(1, BOLD)}


def text_of(source: Source, notes: list[str]) -> str:
    """All text of a PDF or Word file, of a web page, or of a file that is text. The notes say which pages have none.

    Raises:
        UserError: it is damaged or locked, or holds no text.
    """
    kind = source.format()
    if kind in ("pdf", "docx"):
        with source.seekable() as file:
            parts = [page.value["text"] for page in pdf_rows(file, source, notes)] if kind == "pdf" else [
                line.text for line in word_lines(file, source.name)]
    else:
        text = "" if kind else b"".join(source.chunks(may_be_legacy=True)).decode("utf-8", "replace")
        parts = [line.text for line in lines_of_web_page(text)] if source.suffix in PAGE_SUFFIXES else [text]
    if not any(map(str.strip, parts)):
        raise UserError(tr("{name} isn't a document with text.", name=source.name), "",
                        tr("Choose a text, Markdown, PDF, Word or HTML file."))
    return "\n\n".join(parts).strip()


def read_pdf(part: Part, file: BinaryIO, source: Source) -> None:
    """Read a PDF file by its pages, or as questions with answers or conversations.

    Raises:
        UserError: as `pdf_rows`.
    """
    pages = pdf_rows(file, source, part.notes)
    begin = list(islice(pages, LOOKED_AT))
    everything = chain(begin, pages)
    if texts.read_lines(part, [line for page in begin for line in _lines_of(page)],
                        (line for page in everything for line in _lines_of(page)), lambda by: everything, "paragraph"):
        part.text_by = "page"


def _lines_of(page: Raw) -> Iterator[Line]:
    return (Line(text, page.line) for text in page.value["text"].split("\n") if text.strip())


def pdf_rows(file: BinaryIO, source: Source, notes: list[str]) -> Iterator[Raw]:
    """The text of each page that has some; the notes get a sentence on those without, once all were read.

    Raises:
        UserError: it is locked or damaged, or no page has text.
    """
    document = open_pdf(file, source.name)
    empty: list[int] = []
    try:
        count = len(document)
        for number in range(1, count + 1):
            source.check_cancelled()
            text = _page_text(document, number)
            if text.strip():
                yield Raw({"text": text}, number)
            else:
                empty.append(number)
    finally:
        document.close()
    if len(empty) == count:
        raise without_text(source.name)
    if empty:
        notes.append(pages_without_text(empty, count))


def open_pdf(file: BinaryIO, name: str) -> Any:
    """A `pypdfium2.PdfDocument`. Raises UserError: it is locked or damaged."""
    import pypdfium2

    try:
        return pypdfium2.PdfDocument(file)
    except pypdfium2.PdfiumError as error:
        if "password" in str(error).lower():
            raise UserError(tr("{name} has a password.", name=name), "",
                            tr("Save a copy without a password, and open that.")) from error
        raise UserError(tr("{name} is a damaged PDF file.", name=name),
                        tr("Opening it failed: {error}.", error=str(error).rstrip(".")),
                        tr("Copy or download it again.")) from error


def without_text(name: str) -> UserError:
    """What is said about a PDF file all of whose pages are pictures."""
    return UserError(tr("{name} contains no text.", name=name),
                     tr("Its pages are pictures, like those of a scanned document."),
                     tr("Run text recognition (OCR) on it, and open the result."))


def pages_without_text(empty: list[int], count: int) -> str:
    """What is said about the pages of a PDF file that are pictures.

    Args:
        empty: their numbers; `count`: of all pages.
    """
    shown = ", ".join(map(str, empty[:MOST_PAGES])) + (" …" if len(empty) > MOST_PAGES else "")
    return ntr("{n:,} of {pages:,} pages has no text and was left out ({numbers}): it is a picture, blank or "
               "damaged. Text recognition (OCR) makes pictures readable.",
               "{n:,} of {pages:,} pages have no text and were left out ({numbers}): they are pictures, "
               "blank or damaged. Text recognition (OCR) makes pictures readable.",
               len(empty), pages=count, numbers=shown)


def _page_text(document: Any, number: int) -> str:
    """The text of a page, counted from 1; "" of one that is damaged."""
    import pypdfium2

    try:
        page = document[number - 1]
        text_page = page.get_textpage()
    except pypdfium2.PdfiumError:
        return ""
    text = str(text_page.get_text_range()).replace("\r\n", "\n")
    text_page.close()
    page.close()
    return _HYPHEN.sub("", text)


def read_word(part: Part, file: BinaryIO, source: Source) -> None:
    """Read a Word document by its paragraphs, or as questions with answers or conversations.

    Raises:
        UserError: it is damaged.
    """
    lines = list(word_lines(file, source.name))
    single = [line._replace(text=text) for line in lines
              for text in (line.text.split("\n") if line.pair is None else [line.text])]
    texts.read_lines(part, single[:texts.LOOKED_AT], single, lambda by: (
        Raw({"text": line.text}, line.number) for line in lines) if by == "paragraph" else _as_text(lines, by),
        "paragraph")


def _as_text(lines: list[Line], by: str) -> Iterator[Raw]:
    return texts.text_rows(iter(["\n\n".join(line.text for line in lines).encode()]), by)


def word_lines(file: BinaryIO, name: str) -> Iterator[Line]:
    """The paragraphs and the rows of tables, each with its number."""
    import docx
    from docx.table import Table

    try:
        packed.check_archive(file, name)
        document = docx.Document(file)
        number = 0
        for block in document.iter_inner_content():
            lines = _of_table(block) if isinstance(block, Table) else [Line(block.text, 0, _level(block))]
            for line in lines:
                number += 1
                if line.text.strip():
                    yield line._replace(number=number)
    except UserError:
        raise
    except Exception as error:  # python-docx raises whatever its XML happens to lack
        raise UserError(tr("{name} is a damaged Word document.", name=name),
                        tr("Reading it failed: {error}.", error=f"{type(error).__name__}: {error}"),
                        tr("Open it in your word processor, and save it again.")) from error


def _of_table(table: Any) -> Iterator[Line]:
    rows = [[cell.text for cell in row.cells] for row in table.rows]
    both = ask_and_answer(rows[0]) if rows else None
    for at, cells in enumerate(rows):
        pair = None
        if both and len(cells) == len(rows[0]):
            pair = (cells[both[0]], cells[both[1]]) if at else ("", "")
        yield Line("\t".join(cells), 0, pair=pair)


def _level(paragraph: Any) -> int:
    """The level of a heading by its style, as of `Line`."""
    name = (paragraph.style.name or "") if paragraph.style is not None else ""
    if name.startswith(("Heading", "Title")):
        return min(int(re.sub(r"\D", "", name) or 1), BOLD - 1)
    runs = [run for run in paragraph.runs if run.text.strip()]
    return BOLD if runs and all(run.bold for run in runs) else 0


def read_web_page(part: Part, chunks: Iterator[bytes]) -> bool:
    """Read a web page in UTF-8 by its lines, or as questions with answers or a conversation. Returns whether it is
    plain text."""
    lines, by = list(lines_of_web_page(b"".join(chunks).decode("utf-8", "replace"))), part.options.text_by
    begin = lines[:texts.LOOKED_AT]
    if by in (None, texts.QUESTION) and questions.way_of(begin)[0] is None:
        terms, count = _terms(lines)
        if count >= _TERMS:
            part.rows, part.text_by = questions.rows(terms, "bold"), texts.QUESTION
            part.choose(texts.BY_HEADINGS if by is None else 1.0, [Evidence("headings", {"n": count})], [
                Candidate("text", options=ReadOptions(text_by="paragraph"), certainty=texts.BY_HEADINGS - 0.1)],
                text_by=texts.QUESTION)
            return False
    return texts.read_lines(part, begin, lines, lambda by: _as_text(lines, by), "paragraph")


def _terms(lines: list[Line]) -> tuple[list[Line], int]:
    """The lines with those in bold that are terms, each with a text below it, and how many different ones there are.

    They are the headings of that level, or the lines that ask, of which most have a text; headings below them belong
    to the text.
    """
    best, most = lines, 0
    for level in (0, *sorted({line.level for line in lines} - {0})):
        found = [line._replace(level=BOLD if (line.level == level if level else questions.asks_alone(line.text))
                               else line.level if line.level < level else 0) for line in lines]
        followed = {line.text for line, below in pairwise(found) if line.level == BOLD and not below.level}
        terms = {line.text for line in found if line.level == BOLD}
        if len(followed) > most and 2 * len(followed) > len(terms):
            best, most = found, len(followed)
    return best, most


def lines_of_web_page(page: str) -> Iterator[Line]:
    """The lines of a page as it is shown, without its menus, each with the line of the file in which it begins."""
    page = _HIDDEN.sub(lambda hidden: "<p>" + "\n" * hidden[0].count("\n"), page)
    page = _INLINE.sub(lambda tag: "\n" * tag[0].count("\n"), _BOLD_TAG.sub("\0", page))
    number, level = 1, 0
    for text, tag, name in _BLOCK.findall(page):
        shown = " ".join(unescape(text).split())
        if words := shown.replace("\0", "").strip():
            begin = number + text[:len(text) - len(text.lstrip())].count("\n")
            is_bold = shown[:1] == shown[-1:] == "\0" and shown.count("\0") == 2
            yield Line(words, begin, level or BOLD * is_bold)
        number += (text + tag).count("\n")
        level = _LEVELS.get(name.lower(), 0)
