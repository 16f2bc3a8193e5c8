"""Cuts a table (CSV, TSV) into rows, in bounded memory, with the line that each begins on."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from itertools import chain, pairwise, repeat
from typing import NamedTuple

from slmstudio.core.data.row_texts import BOM, ROW_LIMIT, numbered_lines
from slmstudio.core.data.strict_json import NotJson, decode
from slmstudio.core.errors import Problem
from slmstudio.core.i18n import tr

DELIMITERS = (",", ";", "\t", "|")
SNIFFED_ROWS = 20
_LONGEST_SIDE = 200
"""Characters of what a card asks; a paragraph has more."""
_SETTING = re.compile(r"#(?:separator|html|tags|columns|notetype|deck|if matches|(?:guid|notetype|deck|tags) column):")
"""What Anki says of its cards above them. https://docs.ankiweb.net/importing/text-files.html#file-headers"""
_COLUMN = re.compile(r"#(?P<name>guid|notetype|deck|tags) column:\s*(?P<at>\d+)\s*")
_SEPARATOR = re.compile(rb"#separator:\s*(\w+|[^\w\s])", re.IGNORECASE)
_SEPARATORS = {b"tab": "\t", b"comma": ",", b"semicolon": ";", b"pipe": "|", b"colon": ":", b"space": " "}
_RULE = re.compile(r"[|\s]*:?-{2,}:?(?:\s*\|\s*:?-{2,}:?)*[|\s]*")
"""What Markdown writes below the names of a table's columns."""
_DIGITS = re.compile(r"\d+")


class TableRow(NamedTuple):
    """A row's texts, the 1-based line where it begins, and what is wrong with it; then it has no texts."""

    cells: list[str]
    line: int
    trouble: Problem | None = None


class _TooLong(Exception):
    """A row is longer than `ROW_LIMIT`, usually because a closing quotation mark is missing."""


def delimiter_of(first: bytes) -> str:
    """What separates the columns, judging by the beginning of the file: the sign that gives most of its rows the same
    number of columns, and more than one."""
    text = first[: 1 << 17].decode("utf-8", "replace")
    best, found = (0, 0), DELIMITERS[0]
    for delimiter in DELIMITERS:
        rows = csv.reader(io.StringIO(text), delimiter=delimiter)
        try:
            counts = Counter(len(row) for row, _ in zip(rows, range(SNIFFED_ROWS), strict=False) if row)
        except csv.Error:
            continue
        columns, times = max(counts.items(), key=lambda each: (each[0] > 1, each[1]), default=(0, 0))
        if columns > 1 and (times, columns) > best:
            best, found = (times, columns), delimiter
    return found


def separator_said(first: bytes) -> str:
    """What separates the sides of Anki's cards, as the file says above them; "" if it doesn't."""
    found = _SEPARATOR.match(first)
    return _SEPARATORS.get(found[1].lower(), found[1].decode()[:1]) if found else ""


def is_by_tabs(first: bytes) -> bool:
    """Whether a text is a table by another name, as Anki and Quizlet export their cards: each of its first lines has
    as many tabs, behind something short. Sides that differ in a number alone are chapters, or times."""
    lines = first[: 1 << 16].decode("utf-8", "replace").removeprefix("\ufeff").split("\n")[:-1]
    rows = [line for line in lines if line.strip() and not _SETTING.match(line)]
    sides = [line.split("\t")[0].strip() for line in rows]
    if len(lines) < 3 or not all(sides) or len({line.count("\t") for line in rows}) != 1 or "\t" not in rows[0]:
        return False
    is_listed = len({_DIGITS.sub("", side) for side in sides}) == 1 and _DIGITS.search(sides[0]) is not None
    return len(rows) < len(lines) or is_counted(sides) or (max(map(len, sides)) <= _LONGEST_SIDE and not is_listed)


def is_of_markdown(first: bytes) -> bool:
    """Whether a text is hardly more than a table as Markdown writes it."""
    lines = [line.strip() for line in first.split(b"\n") if line.strip()]
    return len(lines) > 2 and any(_RULE.fullmatch(line.decode("utf-8", "replace")) for line in lines[:10]) and (
        4 * sum(line.startswith(b"|") for line in lines) > 3 * len(lines))


def has_text_beside(first: bytes) -> bool:
    """Whether a text with a table as Markdown writes it says something beside it: more than headings and rules."""
    lines = (line.strip() for line in first.split(b"\n"))
    return any(line and not line.startswith((b"|", b"#", b"---", b"***")) for line in lines)


def is_counted(cells: list[str]) -> bool:
    """Whether cells are the numbers of their rows: each is one more than the one before."""
    return all(cell.isdecimal() and len(cell) < 19 for cell in cells) and all(
        int(one) + 1 == int(other) for one, other in pairwise(cells))


def of_cards(rows: Iterator[TableRow]) -> Iterator[TableRow]:
    """The rows without what Anki says above them; its cards have two sides, and may have tags behind them."""
    first = next(rows, None)
    settings: list[str] = []
    while first is not None and first.cells and _SETTING.match(first.cells[0]):
        settings.append(first.cells[0])
        first = next(rows, None)
    if first is None:
        return iter(())
    said = {int(found["at"]): found["name"] for found in map(_COLUMN.fullmatch, settings) if found}
    sides = chain(["question", "answer"], ["tags"] * ("tags" not in said.values()), repeat("column"))
    names = [said.get(at) or next(sides) for at in range(1, len(first.cells) + 1)]
    names = [f"column {at}" if name == "column" else name for at, name in enumerate(names, 1)]
    return chain([TableRow(names, first.line - 1)] * bool(settings), [first], rows)


def table_rows(chunks: Iterator[bytes], delimiter: str) -> Iterator[TableRow]:
    """All rows that aren't blank. A cell may have line breaks where it is in quotation marks.

    In a row with text behind a closing quotation mark (`"Goa" he said,Yes`), marks that don't enclose a cell belong to
    its text, if the row then has as many cells as the first one.
    """
    # The limit is the process's; rows have one of their own here, far above csv's.
    csv.field_size_limit(max(csv.field_size_limit(), ROW_LIMIT))
    lines = _Lines(numbered_lines(chunks))
    reader = csv.reader(lines, delimiter=delimiter)
    cell, text_behind = _patterns(delimiter)
    width = 0
    while True:
        begin, cells, problem = lines.begin_row(), list[str](), None
        try:
            cells = next(reader)
            if lines.at_end and cells and cells[-1].endswith("\n") and not lines.last.rstrip().endswith('"'):
                problem = Problem(_unclosed(begin, lines.number - (not lines.last)), begin)
        except StopIteration:
            return
        except (_TooLong, NotJson, csv.Error) as error:
            problem = _problem(error, begin, lines.number)
        if problem is not None:
            yield TableRow([], begin, problem)
            continue
        width = width or len(cells)
        if lines.number == begin and text_behind.search(lines.last):
            with_marks = [_cell_text(each) for each in cell.finditer(lines.last.rstrip("\r\n"))]
            cells = with_marks if len(with_marks) == width else cells
        if _has_text(cells, delimiter):
            yield TableRow([each.strip() for each in cells] if delimiter == "|" else cells, begin)


def _problem(error: Exception, begin: int, last: int) -> Problem:
    """What is wrong with a row that begins on one line and couldn't be read further than the last one."""
    if isinstance(error, NotJson):
        return Problem(error.reason, last, error.column)
    if not isinstance(error, _TooLong):
        return Problem(tr("this isn't a row of a table: {reason}.", reason=error), begin)
    return Problem(_unclosed(begin, last) if last > begin else tr(
        "the row is longer than {limit} MB, so it wasn't read.", limit=ROW_LIMIT >> 20), begin)


def _patterns(delimiter: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """One for the cells of a line, each enclosed in quotation marks or not, and one for a mark with text behind it."""
    end = re.escape(delimiter)
    return (re.compile(rf'(?:^|{end})(?:"([^"]*(?:""[^"]*)*)"(?={end}|$)|([^{end}]*))'),
            re.compile(rf'"(?<=[^{end}]")[^"{end}\r\n]'))  # which begins with its mark: that is searched quickly


def _cell_text(cell: re.Match[str]) -> str:
    enclosed, literal = cell.groups()
    return literal if enclosed is None else enclosed.replace('""', '"')


def _has_text(cells: list[str], delimiter: str) -> bool:
    """Whether a row isn't blank, nor the rule below the header of a Markdown table."""
    if delimiter == "|" and _RULE.fullmatch("|".join(cells)):
        return False
    return any(cell and not cell.isspace() for cell in cells)


def _unclosed(begin: int, last: int) -> str:
    """What is wrong with a row that takes all lines up to the last one, or more than a row may have."""
    if last == begin:
        return tr("a quotation mark that begins in this row is never closed. Close it, or write a quotation mark "
                  'inside a text twice ("").')
    return tr("a quotation mark that begins in this row is never closed; lines {first:,} to {last:,} were read as part "
              'of it. Close it, or write a quotation mark inside a text twice ("").', first=begin + 1, last=last)


class _Lines:
    """Hands csv one line after another, and remembers the number of the newest one, and its text."""

    def __init__(self, lines: Iterator[tuple[bytes, int, int]]):
        self._lines = lines
        self._next = next(lines, None)
        self._size = 0
        self.number = 0
        self.last = ""

    @property
    def at_end(self) -> bool:
        return self._next is None

    def begin_row(self) -> int:
        """The number of the line with which a new row begins."""
        self._size = 0
        return self.number + 1

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        if self._next is None:
            raise StopIteration
        text, self.number, size = self._next
        self._next = next(self._lines, None)
        self._size += size
        if self._size > ROW_LIMIT:
            raise _TooLong
        # After the last line end, `numbered_lines` gives an empty line more; csv passes over it.
        self.last = decode(text.removeprefix(BOM))
        return self.last + "\n"
