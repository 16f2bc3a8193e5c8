"""Cuts a table (CSV, TSV) into rows, in bounded memory, with the line that each begins on."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from slmstudio.core.data.row_texts import BOM, ROW_LIMIT, numbered_lines
from slmstudio.core.data.strict_json import NotJson, decode
from slmstudio.core.errors import Problem
from slmstudio.core.i18n import tr

DELIMITERS = (",", ";", "\t", "|")
SNIFFED_ROWS = 20
OPEN_QUOTE = ("a quotation mark that begins in this row is never closed; {after}. Close it, or write a quotation mark "
              'inside a text twice ("").')


class TableRow(NamedTuple):
    """One row.

    Attributes:
        cells: its texts; none where there is trouble.
        line: 1-based line where it begins.
        trouble: what is wrong with it.
    """

    cells: list[str]
    line: int
    trouble: Problem | None = None


class _TooLong(Exception):
    """A row goes on beyond `ROW_LIMIT`; most often for want of a closing quotation mark."""


def delimiter_of(first: bytes) -> str:
    """What parts the columns, by the beginning of the file: the sign that gives most of its rows the same number of
    columns, and more than one."""
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


def table_rows(chunks: Iterator[bytes], delimiter: str) -> Iterator[TableRow]:
    """All rows that are not blank. A cell may have line breaks where it stands in quotation marks."""
    # The limit is the process's; rows have one of their own here, far above csv's.
    csv.field_size_limit(max(csv.field_size_limit(), ROW_LIMIT))
    lines = _Lines(numbered_lines(chunks))
    reader = csv.reader(lines, delimiter=delimiter)
    while True:
        begin = lines.begin_row()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except _TooLong:
            why = OPEN_QUOTE.format(after="so it does not end within 16 MB") if lines.number > begin else (
                f"the row is longer than {ROW_LIMIT >> 20} MB, so it was not read.")
            yield TableRow([], begin, Problem(why, begin))
        except NotJson as error:
            yield TableRow([], begin, Problem(error.reason, lines.number, error.column))
        except csv.Error as error:
            yield TableRow([], begin, Problem(tr("this isn't a row of a table: {error}.", error=error), begin))
        else:
            if lines.at_end and _is_open(cells, lines.last):
                after = lines.number - begin - (not lines.last)
                swallowed = f"lines {begin + 1:,} to {begin + after:,} were taken for a part of it"
                yield TableRow([], begin, Problem(
                    OPEN_QUOTE.format(after=swallowed if after else tr("the row has no end")), begin))
            elif any(cell and not cell.isspace() for cell in cells):
                yield TableRow(cells, begin)


def _is_open(cells: list[str], last_line: str) -> bool:
    return bool(cells) and cells[-1].endswith("\n") and not last_line.rstrip().endswith('"')


class _Lines:
    """Hands csv one line after another, and remembers where it is.

    Attributes:
        number: of the newest line.
        last: its text.
        at_end: whether it is the last one.
    """

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
        """A new row begins with the next line, whose number is returned."""
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
