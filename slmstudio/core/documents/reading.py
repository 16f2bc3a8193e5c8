"""Text, headings and pages of documents: PDF, Word, web pages, Markdown, EPUB and text, a paragraph after another."""

from __future__ import annotations

import re
import shutil
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import chain
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from slmstudio.core.data import packed
from slmstudio.core.data.dataset import legacy_font
from slmstudio.core.data.source import PAGE_SUFFIXES, ReadingCancelled, Source
from slmstudio.core.data.sources.documents import (
    lines_of_web_page,
    open_pdf,
    pages_without_text,
    without_text,
    word_lines,
)
from slmstudio.core.data.sources.labels import BOLD, Line
from slmstudio.core.documents import pdf_layout
from slmstudio.core.documents.passages import Block, Passage, cut
from slmstudio.core.documents.pdf_layout import CELLS, MOST_WORDS
from slmstudio.core.documents.project import FileRead, Project, Settings, create
from slmstudio.core.errors import Problem, UserError
from slmstudio.core.i18n import join_sentences, tr

MARKDOWN, EPUB = (".md", ".markdown"), ".epub"
SUFFIXES = (".pdf", ".docx", *PAGE_SUFFIXES, ".xhtml", *MARKDOWN, EPUB, ".txt", ".text")
SAMPLE = 200
"""Paragraphs that tell whether a document is typed for a font from before Unicode."""
DAMAGED = 0.03
"""Share of words that can't be written so from which a text is damaged."""
_INDIAN = re.compile(r"[\u0900-\u0dff]")
_FOREIGN = r"(?![\u0900-\u0dff])[^\W\d_]"
_MIXED = re.compile(rf"[\u0900-\u0dff](?:{_FOREIGN}|[#&*+<=>\\^_`{{|}}~]+[\u0900-\u0dff])|{_FOREIGN}[\u0900-\u0dff]|"
                    r"^[\u093e-\u094d\u0abe-\u0acd]|[\u093e-\u094c]{2}|[\u0abe-\u0acc]{2}")
"""Foreign letters within a word, or vowel signs without a letter that bears them, of Devanagari and Gujarati."""
_CELL = re.compile(r"</t[dh]\s*>\s*<t[dh]\b[^<>]*>", re.IGNORECASE)
_TITLE = re.compile(r"(#{1,6})\s+(.*?)\s*#*$")
_UNDERLINE = re.compile(r"(=+|-{3,})\s*")
_FENCE = re.compile(r"\s*(```|~~~)")


def damaged_letters(texts: Iterable[str]) -> str:
    """What is said about Indian text whose letters a PDF file names wrongly, as many programs write them: some of them
    come as Latin ones, signs or other vowels in the middle of words, and others not at all; "" about sound text."""
    found = Counter(bool(_MIXED.search(word)) for text in texts for word in text.split() if _INDIAN.search(word))
    if found[True] < 3 or found[True] < DAMAGED * found.total():
        return ""
    return tr("Letters are missing or wrong in the text of this file, as in many PDF files in Indian languages. What "
              "is made of it can't be trusted. Use the Word file that it was made from, or text recognition (OCR).")


class Reader:
    """Reads one document. After the last of its blocks, the attributes are known.

    Args:
        progress: called with the share that is read, 0 to 1.
        cancelled: asked often whether to end.

    Attributes:
        pages: None where it has none; `problems`: sentences on what couldn't be read.
    """

    def __init__(self, path: Path, progress: Callable[[float], None] = lambda share: None,
                 cancelled: Callable[[], bool] | None = None):
        self.path = path
        self.pages: int | None = None
        self.problems: list[str] = []
        self._source = Source(path, None, cancelled, whole=False)
        self._progress = progress

    def blocks(self) -> Iterator[Block]:
        """Its paragraphs, tables and list items with the headings above them; memory doesn't grow with the pages of a
        PDF file.

        Raises:
            UserError: it is damaged, locked, or no document.
            ReadingCancelled: `cancelled` said so.
        """
        sample, count = list[str](), 0
        for block in self._blocks():
            text = block.text.strip()
            if text:
                count += 1
                if len(sample) < SAMPLE:
                    sample.append(text)
                yield replace(block, text=text)
        if not count and not self.problems:
            raise UserError(tr("{name} contains no text.", name=self.path.name), "", tr("Choose another file."))
        if note := legacy_font(sample) or damaged_letters(sample):
            self.problems.append(note)

    def _blocks(self) -> Iterator[Block]:
        source, suffix = self._source, self.path.suffix.lower()
        if suffix == EPUB:
            yield from _of_lines(self._epub())
            return
        kind = source.format()
        if kind == "pdf":
            yield from self._pdf()
        elif kind == "docx":
            with source.seekable() as file:
                yield from _of_lines(word_lines(file, source.name))
        elif kind:
            raise UserError(tr("{name} isn't a document.", name=source.name), "",
                            tr("Choose a PDF, Word, HTML, Markdown, EPUB or text file."))
        else:
            text = b"".join(source.chunks(may_be_legacy=True)).decode("utf-8", "replace")
            is_page = suffix in (*PAGE_SUFFIXES, ".xhtml")
            yield from _of_lines(_page_lines(text) if is_page else _text_lines(text, suffix in MARKDOWN))

    def _pdf(self) -> Iterator[Block]:
        empty = list[int]()
        with self._source.seekable() as file, closing(open_pdf(file, self._source.name)) as document:
            self.pages = count = len(document)

            def check(number: int) -> None:
                self._source.check_cancelled()
                self._progress((number - 1) / count)

            yield from pdf_layout.blocks(document, check, empty)
        if len(empty) == count:
            raise without_text(self._source.name)
        if empty:
            self.problems.append(pages_without_text(empty, count))

    def _epub(self) -> Iterator[Line]:
        """The lines of its chapters, in the order in which they are read."""
        name = self.path.name
        try:
            with self._source.seekable() as file:
                packed.check_archive(file, name)
                with zipfile.ZipFile(file) as opened:
                    for chapter in _chapters(opened):
                        self._source.check_cancelled()
                        yield from _page_lines(opened.read(chapter).decode("utf-8", "replace"))
        except (zipfile.BadZipFile, KeyError, EOFError, NotImplementedError) as error:
            raise UserError(tr("{name} is a damaged EPUB file.", name=name),
                            tr("Opening it failed: {error}.", error=str(error).strip("'\".")), tr(packed.AGAIN)
                            ) from error


def _chapters(opened: zipfile.ZipFile) -> list[str]:
    """By the package document's spine. Raises KeyError: a part is missing."""
    container = opened.read("META-INF/container.xml").decode("utf-8", "replace")
    found = re.search(r'full-path="([^"]+)"', container)
    if found is None:
        raise KeyError("container.xml")
    package = opened.read(found[1]).decode("utf-8", "replace")
    tags = [dict(re.findall(r'([\w:-]+)\s*=\s*"([^"]*)"', tag))
            for tag in re.findall(r"<(?:opf:)?item\s[^<>]*>", package)]
    places = {tag["id"]: tag["href"] for tag in tags if {"id", "href"} <= tag.keys()}
    order = dict.fromkeys(re.findall(r'<(?:opf:)?itemref\s[^<>]*?idref\s*=\s*"([^"]*)"', package))
    base = PurePosixPath(found[1]).parent
    return [str(base / unquote(places[each])) for each in order if each in places]


def _page_lines(page: str) -> Iterator[Line]:
    """As the Data tab reads web pages, with a row of a table on one line."""
    return lines_of_web_page(_CELL.sub(CELLS, page))


def _text_lines(text: str, is_markdown: bool) -> Iterator[Line]:
    """Paragraphs and headings of a text: in Markdown its own, elsewhere short lines between empty ones that have a
    number, capitals or a line drawn below them."""
    paragraph, begin, fenced = list[str](), 0, False
    lines = text.splitlines()
    for number, raw in enumerate([*lines, ""], 1):
        line, after = raw.rstrip(), lines[number].strip() if number < len(lines) else ""
        fenced ^= is_markdown and _FENCE.match(line) is not None
        title = _TITLE.match(line) if is_markdown and not fenced else None
        drawn = len(paragraph) == 1 and not fenced and _UNDERLINE.fullmatch(line) is not None
        if drawn:
            yield Line(paragraph.pop(), begin, 1 if line[0] == "=" else 2)
        elif title is not None:
            if paragraph:
                yield Line("\n".join(paragraph), begin)
                paragraph = []
            yield Line(title[2], number, len(title[1]))
        elif line.strip():
            begin = begin if paragraph else number
            paragraph.append(line)
        elif paragraph and not fenced:
            alone = paragraph[0].strip() if len(paragraph) == 1 and not is_markdown and after else ""
            yield Line("\n".join(paragraph), begin, _plain_level(alone))
            paragraph = []


def _plain_level(text: str) -> int:
    """The level of a lone line of a plain text that is a heading; else 0."""
    numbered = re.match(r"(\d{1,2}(?:\.\d{1,2})*)[.)]?\s+\S", text)
    if not text or len(text.split()) > MOST_WORDS or text.endswith((".", ",", ";", "।")):
        return 0
    return numbered[1].count(".") + 1 if numbered else 1 if text.isupper() else 0


def _of_lines(lines: Iterable[Line]) -> Iterator[Block]:
    """Blocks of lines whose level says whether they are headings; rows of a table stay together."""
    path, rows = list[tuple[int, str]](), list[str]()
    for line in lines:
        is_title = 0 < line.level < BOLD or (line.level == BOLD and len(line.text.split()) <= MOST_WORDS
                                             and not line.text.rstrip().endswith((".", "।", ":")))
        text = line.text.replace("\t", CELLS)
        if CELLS not in text or is_title:
            if rows:
                yield Block("\n".join(rows), tuple(title for _, title in path))
                rows = []
            if is_title:
                while path and path[-1][0] >= line.level:
                    path.pop()
                path.append((line.level, " ".join(text.split())))
            else:
                yield Block(text, tuple(title for _, title in path))
        else:
            rows.append(text)
    if rows:
        yield Block("\n".join(rows), tuple(title for _, title in path))


# -- All documents of a project.


def documents_in(sources: Iterable[Path]) -> list[tuple[str, Path]]:
    """(name, path) of each document: files as they are named, of folders those that may be documents, by name.

    Raises:
        UserError: there is none.
    """
    found = dict[Path, str]()
    for source in sources:
        inner = sorted(path for path in source.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()
                       and not any(part.startswith(".") for part in path.relative_to(source).parts)
                       ) if source.is_dir() else [source]
        found |= {path: str(path.relative_to(source)) if source.is_dir() else path.name for path in inner}
    if not found:
        raise UserError(tr("There are no documents."), tr("No PDF, Word, HTML, Markdown, EPUB or text file was found."),
                        tr("Choose files, or a folder with some."))
    names = list(found.values())
    return [(name if names.count(name) == 1 else str(path), path) for path, name in found.items()]


def new_project(sources: Sequence[Path], settings: Settings,
                progress: Callable[[int, int], None] = lambda done, total: None,
                cancelled: Callable[[], bool] | None = None) -> Project:
    """A new project whose documents are read. Raises as `create` and `read_into`; there is no project then."""
    made = create(sources, settings)
    try:
        read_into(made, progress, cancelled)
    except BaseException:  # Ctrl-C, too
        shutil.rmtree(made.folder, ignore_errors=True)
        raise
    return made


def read_into(project: Project, progress: Callable[[int, int], None] = lambda done, total: None,
              cancelled: Callable[[], bool] | None = None) -> None:
    """Read a project's documents and keep their passages. What can't be read is named in `Project.documents`.

    Args:
        progress: called with bytes read and bytes in all.

    Raises:
        UserError: nothing can be read, for all reasons at once; or the passages can't be written.
        ReadingCancelled: `cancelled` said so; nothing is kept.
    """
    read = list[FileRead]()
    passages = _passages(project, documents_in(map(Path, project.settings.sources)), read, progress, cancelled)
    first = next(passages, None)
    if first is None:
        problems = [Problem(text, file=each.name) for each in read for text in each.problems]
        raise UserError(tr("None of the documents can be read."), " ".join(str(each.message) for each in problems[:3]),
                        tr("Choose other files."), problems)
    project.write_passages(chain([first], passages), read)


def _passages(project: Project, documents: list[tuple[str, Path]], read: list[FileRead],
              progress: Callable[[int, int], None], cancelled: Callable[[], bool] | None) -> Iterator[Passage]:
    sizes = [path.stat().st_size if path.is_file() else 0 for _, path in documents]
    done, total = 0, max(1, sum(sizes))
    for number, ((name, path), size) in enumerate(zip(documents, sizes, strict=True), 1):
        reader = Reader(path, lambda share, done=done, size=size: progress(  # type: ignore[misc]
            done + round(share * size), total), cancelled)
        problems = list[str]()
        try:
            yield from cut(name, number, reader.blocks(), project.settings.budget)
        except ReadingCancelled:
            raise
        except UserError as error:
            problems = [join_sentences(error.what, error.why, error.remedy)]
        read.append(FileRead(name, str(path), reader.pages, (*reader.problems, *problems)))
        done += size
        progress(done, total)

