"""The paragraphs of a PDF file with their headings: lines put together as a person reads them, page after page.

A PDF file says only where letters are. What a heading is, is told by size, weight, number and space; running headers
and footers by what the edges of pages repeat; columns by lines that keep to one half; cells of a table by wide gaps.
"""

from __future__ import annotations

import ctypes
import math
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain
from typing import Any

from slmstudio.core.documents.passages import Block
from slmstudio.core.units import plain_digits

LOOKED_AT = 40
"""Pages that tell what is usual in a file."""
EDGE = 3
"""Lines at the top and at the bottom of a page that may be a header or footer."""
REPEATED = 0.3
"""Share of the pages that repeat a header or footer, which may differ on left and right pages and by chapter."""
GAP, CELL = 0.6, 1.6
"""Heights of a line: of space that begins a paragraph, and that parts the cells of a table."""
LARGE, MOST_BOLD = 1.105, 0.3
"""How much larger than usual letters are those of a heading; share of bold ones up to which bold means something."""
FULL = 0.6
"""Share of a column's width that most of its lines fill; cells of a table are shorter."""
MOST_WORDS = 16
"""Of a heading."""
CELLS = " | "
OCR_DPI, OCR_SECONDS = 300, 120
_NUMBERED = re.compile(r"(?P<number>\d{1,3}(?:\.\d{1,3})*(?=[.)]?\s)|(?:[IVXLC]{1,6}|[A-Z])(?=[.)]))[.)]?\s+(?=\S)")
_NAMED = re.compile(r"(?:chapter|section|part|annex(?:ure)?|appendix|schedule|article|अध्याय|भाग|धारा|अनुलग्नक|परिशिष्ट|"
                    r"खंड|अनुसूची)\s+[\divxlc०-९]+\b", re.IGNORECASE)
_ITEM = re.compile(r"(?:[\uf000-\uf0ff•●▪◦*–—-]|\(?(?:\d{1,3}(?:\.\d{1,3})*|[a-zA-Z]|[ivx]{1,4}|[कखगघङअआइई])[.)])\s+\S")
_PAGE_NUMBER = re.compile(r"(?i)\W*(?:page|पृष्ठ|पेज|p\.)?\s*(?:\d{1,4}|[ivxl]+)(?:\s*(?:of|/|का|में से|-)\s*\d{1,4})?\W*")
_LEADERS = re.compile(r" \| |[.…·_]{5}|(?:\. ){5}")  # in tables, and in those of contents
_RUN_IN = re.compile(r"(\S.{3,120}?)[.:]\s?[—–-]+\s?(?=\S)")  # a heading of a law, on the line of its text
_SHAPELESS = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\u00ad\ufffe\uffff]")
_SENTENCE_END = (".", "!", "?", "।", ":", ";", "॥")


@dataclass(frozen=True)
class Line:
    """A line of a page. Places are in points, from the page's lower left corner.

    Attributes:
        height: of its letters.
        runs_in: whether it is a heading on the line on which its text begins.
    """

    text: str
    left: float
    right: float
    bottom: float
    top: float
    height: float
    is_bold: bool
    page: int
    runs_in: bool = False

    @property
    def edge_text(self) -> str:
        """What a header or footer has in common on all pages."""
        parts = plain_digits(self.text).split(CELLS)
        rest = CELLS.join(part for part in parts if not _PAGE_NUMBER.fullmatch(part)) or parts[0]
        return re.sub(r"\d+", "0", " ".join(rest.split())).casefold()


@dataclass(frozen=True)
class _Usual:
    """What is usual in a file: the height of its letters, what the edges of pages repeat, whether bold means much."""

    height: float
    edges: frozenset[str]
    bold_counts: bool


def blocks(document: Any, check: Callable[[int], None], empty: list[int]) -> Iterator[Block]:
    """The paragraphs of a `pypdfium2.PdfDocument`.

    Args:
        check: called with each page's number before it is read; may raise.
        empty: takes the numbers of pages without text, which nothing could recognise either.
    """
    usual = _usual([_page_lines(document, number) for number in range(1, 1 + min(len(document), LOOKED_AT))])

    def lines() -> Iterator[Line]:
        for number in range(1, len(document) + 1):
            check(number)
            found = _page_lines(document, number)
            if not found:
                found = [Line(text, 0, 0, 0, 0, 0, False, number) for text in _recognised(document, number)]
            if not found:
                empty.append(number)
            yield from _without_edges(found, usual)

    yield from _paragraphs(lines(), usual)


# -- Lines.


def _page_lines(document: Any, number: int) -> list[Line]:
    """The lines of a page in the order in which they are read; none of one that is damaged or a picture."""
    import pypdfium2

    try:
        page = document[number - 1]
        text_page = page.get_textpage()
    except pypdfium2.PdfiumError:
        return []
    try:
        at, pieces, found = 0, list[Line](), list[Line]()
        for part in str(text_page.get_text_range()).split("\r\n"):
            pieces += _pieces(text_page, part, at, number)
            at += len(part) + 2
        for piece in _in_order(pieces):
            found += _merged(found, piece)
        return found
    finally:
        text_page.close()
        page.close()


def _pieces(text_page: Any, text: str, at: int, page: int) -> Iterator[Line]:
    """What pdfium takes for a line, cut at wide gaps.

    Args:
        at: number of its first character on the page.
    """
    begin, end = len(text) - len(text.lstrip()), len(text.rstrip())
    for match in re.finditer(r"(?<=\S) (?=\S)", text):
        before, after = (_box(text_page, at + each) for each in (match.start() - 1, match.end()))
        if after[0] - before[2] > CELL * (before[3] - before[1]) > 0:
            yield from _parted(text_page, text[begin:match.start()], at + begin, page)
            begin = match.end()
    if begin < end:
        yield from _parted(text_page, text[begin:end], at + begin, page)


def _parted(text_page: Any, text: str, at: int, page: int) -> Iterator[Line]:
    """A line; two, if a heading in bold is on it with the beginning of its text."""
    match = _RUN_IN.match(text)
    if match and _is_bold(text_page, at + match.end(1) - 1) and not _is_bold(text_page, at + match.end()):
        yield replace(_line(text_page, match[1], at, page), runs_in=True)
        at, text = at + match.end(), text[match.end():]
    yield _line(text_page, text, at, page)


def _line(text_page: Any, text: str, at: int, page: int) -> Line:
    first, last = (_box(text_page, each) for each in (at, at + len(text) - 1))
    # The last letters of a line tell whether its bold ones are only the beginning of a sentence.
    letters = [at + number for number, each in enumerate(text) if each.isalnum()] or [at]
    middle = letters[len(letters) // 2]
    # A line's last hyphen comes as U+FFFE where pdfium joins a word.
    words = _SHAPELESS.sub("", text).split()
    return Line(" ".join(words), first[0], last[2], min(first[1], last[1]), max(first[3], last[3]),
                sorted(_size(text_page, each) for each in (letters[0], middle, letters[-1]))[1],
                all(_is_bold(text_page, each) for each in (middle, letters[-1])), page)


def _box(text_page: Any, at: int) -> tuple[float, float, float, float]:
    """(left, bottom, right, top) of a letter of the page's text with the room of its line."""
    import pypdfium2.raw as pdfium

    box = pdfium.FS_RECTF()
    pdfium.FPDFText_GetLooseCharBox(text_page, _character(text_page, at), ctypes.byref(box))
    return box.left, box.bottom, box.right, box.top


def _character(text_page: Any, at: int) -> int:
    """pdfium's number for a letter of its text: a character of a font may stand for several letters, or for none."""
    import pypdfium2.raw as pdfium

    return max(0, int(pdfium.FPDFText_GetCharIndexFromTextIndex(text_page, at)))


def _size(text_page: Any, at: int) -> float:
    """The size of a letter's font, in points; its box also depends on how the font is drawn."""
    import pypdfium2.raw as pdfium

    number, matrix = _character(text_page, at), pdfium.FS_MATRIX()
    pdfium.FPDFText_GetMatrix(text_page, number, ctypes.byref(matrix))
    return float(pdfium.FPDFText_GetFontSize(text_page, number)) * math.hypot(matrix.c, matrix.d)


def _is_bold(text_page: Any, at: int) -> bool:
    import pypdfium2.raw as pdfium

    name = ctypes.create_string_buffer(128)
    flags = ctypes.c_int()
    pdfium.FPDFText_GetFontInfo(text_page, _character(text_page, at), name, len(name), ctypes.byref(flags))
    return re.search(rb"bold|black|heavy|semibold|demi", name.value, re.IGNORECASE) is not None


def _merged(before: list[Line], line: Line) -> list[Line]:
    """The line; put to the one before, which it replaces, where both are in one row: cells, or what a small raised
    number has parted."""
    if not before or before[-1].runs_in:
        return [line]
    last = before[-1]
    overlap = min(last.top, line.top) - max(last.bottom, line.bottom)
    if overlap < 0.5 * min(last.top - last.bottom, line.top - line.bottom) or line.left < last.right - 1:
        return [line]
    before.pop()
    gap, room = line.left - last.right, max(last.top - last.bottom, line.top - line.bottom)
    joint = CELLS if gap > CELL * room else " " if gap > 0.15 * line.height else ""
    return [replace(last, text=f"{last.text}{joint}{line.text}", right=line.right, bottom=min(last.bottom, line.bottom),
                    top=max(last.top, line.top), height=max(last.height, line.height))]


def _usual(pages: Sequence[list[Line]]) -> _Usual:
    heights, bold, edges = Counter[float](), 0, Counter[str]()
    for lines in pages:
        for line in lines:
            heights[round(line.height, 1)] += len(line.text)
            bold += len(line.text) * line.is_bold
        edges.update({line.edge_text for line in _edges(lines)})
    least = max(3, REPEATED * len(pages))
    # Of two pages, the outermost line if it is the same to the letter: headings differ in their numbers.
    ends = [end(lines, key=lambda line: line.top) for lines in pages if len(pages) == 2 and lines for end in (max, min)]
    same = {one.edge_text for one, other in zip(ends, ends[2:], strict=False) if one.text == other.text}
    return _Usual(max(heights, key=heights.__getitem__, default=1.0) or 1.0,
                  frozenset(text for text, times in edges.items() if times >= least) | same,
                  bold <= MOST_BOLD * heights.total())


def _edges(lines: Sequence[Line]) -> list[Line]:
    by_place = sorted(lines, key=lambda line: -line.top)
    return by_place[:EDGE] + by_place[max(EDGE, len(by_place) - EDGE):]


def _without_edges(lines: list[Line], usual: _Usual) -> list[Line]:
    at_edges = {id(line) for line in _edges(lines) if line.edge_text in usual.edges}
    outermost = sorted(lines, key=lambda line: -line.top)
    at_edges |= {id(line) for line in (*outermost[:1], *outermost[-1:])
                 if len(lines) > 1 and _PAGE_NUMBER.fullmatch(plain_digits(line.text))}
    return [line for line in lines if id(line) not in at_edges]


def _in_order(lines: list[Line]) -> list[Line]:
    """The lines of a page with two columns of text, the left one first; others about as the file has them."""
    if not lines:
        return lines
    left, right = min(line.left for line in lines), max(line.right for line in lines)
    middle, slack = (left + right) / 2, 0.02 * (right - left)
    side = {id(line): -1 if line.right <= middle + slack else 1 if line.left >= middle - slack else 0 for line in lines}
    halves = Counter(side.values())
    widths = sorted(line.right - line.left for line in lines if side[id(line)])
    if min(halves[-1], halves[1]) < 6 or halves[0] > 0.25 * len(lines) or (
            widths[len(widths) // 2] < FULL * (right - left) / 2):
        return _from_above(lines)
    ordered, columns = list[Line](), (list[Line](), list[Line]())
    for line in sorted(lines, key=lambda line: -line.top):
        if side[id(line)]:
            columns[side[id(line)] > 0].append(line)
        else:  # what spans both ends them
            ordered += [*columns[0], *columns[1], line]
            columns[0].clear()
            columns[1].clear()
    return [*ordered, *columns[0], *columns[1]]


def _from_above(lines: Sequence[Line]) -> list[Line]:
    """The lines as the file has them, but none before one that stands above it: many files draw boxes last."""
    runs = list[list[Line]]()
    for line in lines:
        last = runs[-1][-1] if runs else None
        if last is None or line.top > last.top or _gap(last, line) > line.height or line.right < last.left:
            runs.append([])
        runs[-1].append(line)
    places = [(min(line.left for line in run), max(line.right for line in run), min(line.bottom for line in run),
               run[0].top - run[0].height / 2) for run in runs]
    order = dict[int, None]()
    for number in range(len(runs)):
        waiting = [] if number in order else [number]
        while waiting:
            left, right, _, begin = places[waiting[-1]]
            above = next((at for at, (its_left, its_right, bottom, _) in enumerate(places) if bottom > begin and (
                its_left < right and left < its_right and at not in order and at not in waiting)), None)
            if above is None:
                order[waiting.pop()] = None
            else:
                waiting.append(above)
    return [line for number in order for line in runs[number]]


# -- Paragraphs and headings.


def _paragraphs(lines: Iterator[Line], usual: _Usual) -> Iterator[Block]:
    path: list[tuple[tuple[float, int], str]] = []
    paragraph: list[Line] = []
    title: Line | None = None
    before: Line | None = None
    for line, after in _with_next(lines):
        level = _level(line, before, after, usual)
        if level is not None:
            if paragraph:
                yield _block(paragraph, path)
                paragraph = []
            if title is not None and before is title and path and not _NUMBERED.match(line.text) and (
                    title.is_bold == line.is_bold and not _begins(title, line)):
                path[-1] = (path[-1][0], f"{path[-1][1]} {line.text}")
            else:
                if title is not None and before is title and path and path[-1][0] >= level:
                    yield _block([replace(title, text=path[-1][1])], path[:-1])  # else its words would be lost
                while path and path[-1][0] >= level:
                    path.pop()
                path.append((level, line.text))
            title = line
        else:
            if paragraph and _begins(paragraph[-1], line):
                yield _block(paragraph, path)
                paragraph = []
            paragraph.append(line)
        before = line
    if paragraph:
        yield _block(paragraph, path)
    elif title is not None:
        yield _block([replace(title, text=path[-1][1])], path[:-1])


def _with_next(lines: Iterator[Line]) -> Iterator[tuple[Line, Line | None]]:
    previous: Line | None = None
    for line in chain(lines, [None]):
        if previous is not None:
            yield previous, line
        previous = line


def _level(line: Line, before: Line | None, after: Line | None, usual: _Usual) -> tuple[float, int] | None:
    """The level of a heading, the outermost the smallest; None of a line that is none."""
    text = line.text
    if len(text.split()) > MOST_WORDS or len(text) < 3 or not any(map(str.isalpha, text)) or _LEADERS.search(text):
        return None
    if line.height < usual.height / LARGE or text.endswith((",", ";", "।", "-")) or (
            text.endswith(".") and not text.rstrip(".").isupper()):
        return None
    numbered, large = _NUMBERED.match(text), line.height >= LARGE * usual.height
    alone = before is None or before.page != line.page or _gap(before, line) > GAP * line.height or (
        after is not None and _gap(line, after) > GAP * line.height)
    # Then it begins a paragraph in bold, or in capitals.
    continues = after is not None and not line.runs_in and not _begins(line, after)
    bold = line.is_bold and usual.bold_counts and not (continues and after is not None and after.is_bold)
    initial = numbered is not None and len(numbered["number"]) == 1 and numbered["number"].isalpha()
    named = _NAMED.match(text) is not None or (numbered is not None and not initial and len(text.split()) <= 8 and (
        not _ITEM.match(after.text if after else "") or "." in (_NUMBERED.match(after.text) or [""])[0].strip(". ")
        if after else False))
    capitals = text.isupper() and len(text) > 5 and not (
        (continues and after is not None and after.text.isupper())
        or (before is not None and before.text.isupper() and not _begins(before, line)))
    if not (large or bold or (alone and (named or capitals))):
        return None
    depth = numbered["number"].count(".") + 1 if numbered and numbered["number"][0].isdigit() else 1
    size = round(max(line.height, usual.height) / usual.height, 1)
    return -size if large else -1.0, depth + (not large and not bold and not capitals and not named)


def _gap(above: Line, below: Line) -> float:
    return above.bottom - below.top


def _begins(last: Line, line: Line) -> bool:
    """Whether a line begins a paragraph behind another one."""
    if CELLS in last.text or CELLS in line.text or _ITEM.match(line.text):
        return True
    ended = last.text.endswith(_SENTENCE_END)
    if line.page != last.page or line.top > last.top:  # another page or column
        return ended or line.is_bold != last.is_bold
    short = last.right < line.right - 0.15 * (line.right - line.left)
    return _gap(last, line) > GAP * line.height or (ended and short) or (
        abs(last.height - line.height) > 0.12 * line.height)


def _block(lines: Sequence[Line], path: list[tuple[tuple[float, int], str]]) -> Block:
    text = lines[0].text
    for line in lines[1:]:
        joined = text.endswith("-") and len(text) > 1 and text[-2].isalpha() and line.text[:1].islower()
        text = text[:-1] + line.text if joined else f"{text} {line.text}"
    return Block(text, tuple(title for _, title in path), lines[0].page)


# -- Pages that are pictures.


@cache
def ocr_languages() -> tuple[str, ...]:
    """Those that Tesseract knows here; none where it isn't installed."""
    if shutil.which("tesseract") is None:
        return ()
    done = subprocess.run(["tesseract", "--list-langs"], capture_output=True, text=True, check=False, timeout=30)
    return tuple(line.strip() for line in done.stdout.splitlines()[1:] if line.strip())


def _recognised(document: Any, number: int) -> list[str]:
    """The lines that Tesseract recognises on a page; none where it isn't installed, or there is nothing."""
    known = [each for each in ocr_languages() if each != "osd"]
    if not known:
        return []
    page = document[number - 1]
    try:
        picture = page.render(scale=OCR_DPI / 72, grayscale=True).to_numpy()
    finally:
        page.close()
    height, width = picture.shape[:2]
    data = b"P5 %d %d 255\n" % (width, height) + picture.reshape(height, width, -1)[:, :, 0].tobytes()
    try:
        done = subprocess.run(["tesseract", "stdin", "stdout", "-l", "+".join(known)], input=data, capture_output=True,
                              check=False, timeout=OCR_SECONDS)
    except subprocess.TimeoutExpired:
        return []
    return [line for line in done.stdout.decode("utf-8", "replace").splitlines() if line.strip()]
