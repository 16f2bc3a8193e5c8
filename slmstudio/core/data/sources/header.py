"""The names of a table's columns: from its first row, or by what is in them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import NamedTuple

from slmstudio.core.data.column_names import ask_and_answer, is_known, is_sure
from slmstudio.core.data.sources.row import Raw
from slmstudio.core.data.sources.tables import TableRow, is_counted, is_licence
from slmstudio.core.data.strict_json import printable
from slmstudio.core.errors import Problem, UserError
from slmstudio.core.i18n import ntr, tr

LOOKED_AT = 20
"""Rows that tell what the columns of a table without names are."""
MOST_TITLES = 8
"""Rows that may be above the names of a table's columns."""
LONGEST_NAME = 40
LETTERS = "ABCDEFGHIJ"
_OF_FORMS = frozenset({"timestamp", "zeitstempel", "horodateur", "marca temporal", "टाइमस्टैम्प", "টাইমস্ট্যাম্প"})
"""What the first column of a form's answers is called; the others are called as the form asks, with whole sentences."""
_SENTENCE = re.compile(r"[?!।॥۔。？！]\s*$|\S\s+\S+\s+\S.*\.\s*$", re.DOTALL)
"""Fewer than three words with a full stop are an abbreviation, such as "S. No." and "क्र.सं."."""
_IDENTIFIER = re.compile(r"[^\W\d]\w*(?:[ _-]\w+){0,2}")
_NUMBER = re.compile(r"[-+]?[\d.,/:% -]+")
"""A number, or a date."""
_CODE = re.compile(r"(?=\S*\d)\S+")
"""What names a ticket or a file."""


class Named(NamedTuple):
    """
    Attributes:
        columns: their names, in the table's order; those without one are left out.
        rows: each an object by these names; blank cells are "".
    """

    columns: tuple[str, ...]
    rows: Iterator[Raw]


def named(rows: Iterator[TableRow], notes: list[str], said: Iterable[str] = ()) -> Named:
    """The rows of a table by the names of their columns.

    Args:
        said: columns that a user has named: where the first row holds them all, it holds names.
        notes: gets a sentence where the first row holds no names.

    Raises:
        UserError: two columns have one name.
    """
    begin = list(islice(rows, LOOKED_AT))
    whole = [row.cells for row in begin if row.trouble is None]
    if not whole:
        return Named((), (Raw(None, row.line, row.trouble) for row in chain(begin, rows)))
    has_header = is_header(whole) or (bool(said) and set(said) <= {cell.strip() for cell in whole[0]})
    names = [cell.strip() for cell in whole[0]] if has_header else _names_by_look(whole)
    if has_header:
        _check_names(names)
        begin.remove(next(row for row in begin if row.trouble is None))
    else:
        notes.append(tr("The first row was read as data, as it contains no column names. The columns were read as "
                        "{names}.", names=", ".join(names[:12])))
    header = whole[0] if has_header else None
    return Named(tuple(name for name in names if name), _rows(chain(begin, rows), names, header))


def _rows(rows: Iterator[TableRow], names: list[str], header: list[str] | None) -> Iterator[Raw]:
    for row in rows:
        if row.trouble is not None:
            yield Raw(None, row.line, row.trouble)
        elif row.cells == header:
            yield Raw(None, row.line, Problem(tr("the column names are repeated here."), row.line))
        elif len(row.cells) > len(names) and any(cell.strip() for cell in row.cells[len(names):]):
            yield Raw(None, row.line,
                      Problem(tr("the row has {found} columns, but the table has {wanted}; a text with the separator "
                                 "in it must be in quotation marks.", found=len(row.cells), wanted=len(names)),
                              row.line))
        else:
            cells = [*row.cells, *[""] * (len(names) - len(row.cells))]
            yield Raw({name: cell for name, cell in zip(names, cells, strict=False) if name}, row.line)


def is_header(rows: list[list[str]]) -> bool:
    """Whether the first row holds names: words that are known as such, or short words above longer texts or numbers."""
    first, rest = [cell.strip() for cell in rows[0]], rows[1:]
    filled = [cell for cell in first if cell]
    if not filled or (len({cell.casefold() for cell in filled}) < len(filled) and not any(map(is_known, filled))):
        return False
    if first[0].casefold() in _OF_FORMS and len(filled) > 1:
        return True
    if any(len(cell) > LONGEST_NAME for cell in filled):
        return False
    is_short = {cell.casefold() for cell in filled} == {"q", "a"}
    if is_short or (any(map(is_sure, filled)) and sum(map(is_known, filled)) * 2 >= min(len(filled), 4)):
        return True
    if names_both(filled):
        return True
    if rest and all(map(_IDENTIFIER.fullmatch, filled)) and not any(
            all(_IDENTIFIER.fullmatch(cell.strip()) for cell in row if cell.strip()) for row in rest):
        return True
    if not rest or any(_SENTENCE.search(cell) or _NUMBER.fullmatch(cell) for cell in filled):
        return False
    below = [[row[at].strip() for row in rest if at < len(row) and row[at].strip()] for at in range(len(first))]
    columns = [(name, cells) for name, cells in zip(first, below, strict=True) if name and cells]
    if any(len(cells) > 2 and all(map(_NUMBER.fullmatch, cells)) for _, cells in columns):
        return True  # a word above numbers
    longer = sum(sum(map(len, cells)) > 1.5 * len(name) * len(cells) or all(map(_NUMBER.fullmatch, cells))
                 or (_CODE.fullmatch(name) is None and all(map(_CODE.fullmatch, cells)))
                 or (len(cells) > 3 and name not in cells and 2 * len(set(cells)) <= len(cells))
                 for name, cells in columns)
    return longer * 2 > len(filled)


def names_both(cells: list[str]) -> bool:
    """Whether cells name both a question and an answer."""
    names = [cell for cell in cells if len(cell) <= LONGEST_NAME and not _SENTENCE.search(cell)]
    return ask_and_answer(names) is not None


def _check_names(names: list[str]) -> None:
    twice = [name for name, count in Counter(name.casefold() for name in names if name).items() if count > 1]
    if twice:
        raise UserError(tr('Two columns are called "{column}".', column=printable(twice[0])),
                        tr("Only one of them could be read.") if len(twice) == 1 else
                        ntr("{n:,} name occurs more than once.", "{n:,} names occur more than once.", len(twice)),
                        tr("Give each column a name of its own."))


def _names_by_look(rows: list[list[str]]) -> list[str]:
    """MMLU's own order, question, choices and a letter, where most rows have that; otherwise numbers."""
    columns = Counter(map(len, rows)).most_common(1)[0][0]
    letters = LETTERS[:max(0, columns - 2)]
    last = [cells[-1].strip() for cells in rows if len(cells) == columns]
    marks = [text for text in last if re.fullmatch(r"\d", text) or (len(text) == 1 and text.upper() in letters)]
    if columns >= 4 and 2 * len(marks) >= len(last):
        return ["question", *letters, "answer"]
    if columns == 2:
        first, second = ([cells[at].strip() for cells in rows if len(cells) == 2] for at in (0, 1))
        # A class before its text, as in the table of SMS spam; a question comes once or twice.
        few = len(first) > 3 and len(set(first)) * 2 <= len(first) < 2 * len(set(second)) and len(set(first)) > 1
        if few and max(map(len, first)) <= LONGEST_NAME:
            return ["label", "text"]
        return ["id", "text"] if is_counted(first) else ["question", "answer"]
    if columns == 3 and all(map(is_licence, last)):
        return ["question", "answer", "licence"]
    return ["text"] if columns == 1 else [f"column {number}" for number in range(1, columns + 1)]


def below_title(rows: Iterator[TableRow]) -> Iterator[TableRow]:
    """A table's rows without the title above them: rows of one cell, where the others have more; or those above the one
    that names question and answer, which has more names than they have."""
    begin = list(islice(rows, LOOKED_AT))
    filled = [sum(1 for cell in row.cells if cell.strip()) for row in begin]
    named = next((at for at, row in enumerate(begin[:MOST_TITLES]) if names_both(row.cells)), 0)
    if named and max(filled[:named]) < filled[named]:
        return chain(begin[named:], rows)
    first = next((at for at, cells in enumerate(filled) if cells > 1), 0)
    if filled.count(1) * 2 < len(begin) and len({len(row.cells) for row in begin[first:]}) == 1:
        return chain(begin[first:], rows)
    return chain(begin, rows)
