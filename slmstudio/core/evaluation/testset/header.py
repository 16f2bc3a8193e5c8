"""The names of a table's columns: from its first row, or by what stands in them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from itertools import chain, islice
from typing import NamedTuple

from slmstudio.core.data.column_names import column
from slmstudio.core.data.sources.tables import TableRow
from slmstudio.core.data.strict_json import printable
from slmstudio.core.errors import Problem
from slmstudio.core.evaluation.testset import known_layouts, multiple_choice, row_kinds

WITH_NAMES = 'Begin the file with a line of column names, such as question,answer or question,A,B,C,D,answer.'
LOOKED_AT = 20
"""Rows that tell what the columns of a table without names are."""
_SURE = frozenset({"question", "prompt", "instruction", "query", "messages", "problem"})
_ASKS = frozenset(row_kinds.QUESTIONS)
_ANSWERS = frozenset({*row_kinds.REFERENCES, *row_kinds.ANSWERS, *row_kinds.EXACT,
                      *row_kinds.PATTERNS, *multiple_choice.RIGHT})


class NoColumns(Exception):
    """A table without column names whose columns do not tell what they are.

    Attributes:
        why: a sentence.
        remedy: another.
    """

    def __init__(self, why: str, remedy: str = WITH_NAMES):
        super().__init__(why)
        self.why, self.remedy = why, remedy


class NamedRow(NamedTuple):
    """A row of a table with names; see `TableRow`."""

    columns: dict[str, str]
    line: int
    trouble: Problem | None = None


def named_columns(rows: Iterator[TableRow], notes: list[str]) -> Iterator[NamedRow]:
    """Each row's cells under the names of their columns; blank cells of optional columns stay out.

    Args:
        notes: gets a sentence where the first line holds no names.

    Raises:
        NoColumns: see there.
    """
    begin = list(islice(rows, LOOKED_AT))
    whole = [row for row in begin if row.trouble is None]
    if not whole:
        yield from (NamedRow({}, row.line, row.trouble) for row in chain(begin, rows))
        return
    names, header = names_of([row.cells for row in whole])
    if header:
        begin.remove(whole[0])
    else:
        notes.append(f"The first line was taken as a row, as it has no names of columns that are known; the columns "
                     f"were taken as {', '.join(names)}.")
    for row in chain(begin, rows):
        if header and row.cells == whole[0].cells:
            yield NamedRow({}, row.line, Problem("the names of the columns stand here again.", row.line))
        elif row.trouble is None and len(row.cells) != len(names):
            yield NamedRow({}, row.line, _wrong_number(row, len(names)))
        else:
            yield NamedRow(_columns(names, row.cells), row.line, row.trouble)


def names_of(rows: list[list[str]]) -> tuple[list[str], bool]:
    """The columns' names by the cells of the first rows, and whether the first row holds them.

    Raises:
        NoColumns: see there.
    """
    if not rows or not is_header(rows[0]):
        return _names_by_look(rows[:LOOKED_AT]), False
    names = [cell.strip() for cell in rows[0]]
    _check_names(names)
    return names, True


def is_header(cells: list[str]) -> bool:
    """Whether the first row holds names: one that can only be a question's, or a question's and an
    answer's. Other words that are known, such as "text" and "story", stand in rows too."""
    known = set(map(column, cells))
    return bool(_SURE & known) or bool(_ASKS & known and _ANSWERS & known) or known == known_layouts.SHORT


def _check_names(names: list[str]) -> None:
    small = [name.casefold() for name in names if name]
    twice = sorted({name for name in small if small.count(name) > 1})
    if twice:
        raise NoColumns(f'Two columns are called "{printable(twice[0])}".', "Give each column a name of its own.")


def _names_by_look(rows: list[list[str]]) -> list[str]:
    """MMLU's own order, question, choices and a letter, where most rows have that; or question and answer."""
    columns = max(Counter(map(len, rows)).items(), key=lambda each: each[1], default=(0, 0))[0]
    letters = multiple_choice.LETTERS[: max(0, columns - 2)]
    last = [cells[-1].strip() for cells in rows if len(cells) == columns]
    named = [text for text in last if re.fullmatch(r"\d", text) or (len(text) == 1 and text.upper() in letters)]
    if columns >= 4 and 2 * len(named) >= len(last):
        return ["question", *letters, "answer"]
    if columns == 2:
        return ["question", "answer"]
    if columns == 1:
        raise NoColumns("There is one column, and no reference beside it.",
                        "Add a column with the right answers, and a first line with names: question,answer")
    raise NoColumns(f"Its rows have {columns} columns, none of which has a name that is known.")


def _columns(names: list[str], cells: list[str]) -> dict[str, str]:
    return {name: cell for name, cell in zip(names, cells, strict=False) if name and (cell.strip() or _stays(name))}


@lru_cache(maxsize=1024)
def _stays(name: str) -> bool:
    """Whether a blank cell says something: that a question is missing, or a choice among others."""
    known = column(name)
    return known in ("question", "answer") or multiple_choice.is_choice_column(known)


def _wrong_number(row: TableRow, wanted: int) -> Problem:
    hint = ("a text with the separator in it must stand in quotation marks" if len(row.cells) > wanted else
            "some are missing at the end")
    return Problem(f"the row has {len(row.cells)} columns, the others have {wanted}; {hint}.", row.line)
