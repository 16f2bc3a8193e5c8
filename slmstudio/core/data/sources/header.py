"""The names of a table's columns: from its first row, or by what is in them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, islice, pairwise

from slmstudio.core.data.candidates import Candidate, Evidence, Part
from slmstudio.core.data.column_names import HEAD_WORDS, all_words, ask_and_answer, is_known, is_language, is_sure
from slmstudio.core.data.read_options import ReadOptions
from slmstudio.core.data.sources import texts
from slmstudio.core.data.sources.row import Raw
from slmstudio.core.data.sources.tables import TableRow, is_counted
from slmstudio.core.data.strict_json import printable
from slmstudio.core.errors import Problem, UserError
from slmstudio.core.i18n import ntr, tr

LOOKED_AT = 20
"""Rows that tell what the columns of a table without names are."""
UNSURE = 0.7
"""How sure it is which rows hold the names where a second one may."""
LEAST_BELOW = 3
"""Rows that show whether the second row holds names."""
MOST_TITLES = 8
"""Rows that may be above the names of a table's columns."""
LONGEST_NAME = 40
MOST_LONG = 5
"""One of so many names may be longer."""
MOST_LONGER = 0.9
"""Share of the cells below a name that are longer, at least: words of any length may be above others, too."""
LETTERS = "ABCDEFGHIJ"
_OF_FORMS = frozenset({"timestamp", "zeitstempel", "horodateur", "marca temporal", "टाइमस्टैम्प", "টাইমস্ট্যাম্প"})
"""What the first column of a form's answers is called; the others are called as the form asks, with whole sentences."""
_SENTENCE = re.compile(r"\S\s.*[?!।॥۔]\s*$|[。？！]\s*$|\S\s+\S+\s+\S.*\.\s*$", re.DOTALL)
"""A word with a question mark may be a name, such as "Current?"; fewer than three words with a full stop are an
abbreviation, such as "S. No." and "क्र.सं."."""
_ASKS = re.compile(r"[?？؟]\W*$")
_IDENTIFIER = re.compile(r"[^\W\d]\w*(?:[ _-]\w+){0,2}")
_NUMBER = re.compile(r"[-+]?[\d.,/:% -]+")
"""A number, or a date."""
_CODE = re.compile(r"(?=\S*\d)\S+")
"""What names a ticket or a file."""


def name(part: Part, rows: Iterator[TableRow]) -> None:
    """The rows of a table by the names of their columns; those without a name are left out, blank cells are "". In a
    single column, questions and answers or the turns of a conversation may alternate.

    Raises:
        UserError: the chosen rows aren't there.
    """
    chosen = part.options.header_rows
    begin = list(islice(rows, LOOKED_AT))
    whole = [row for row in begin if row.trouble is None]
    if not whole:
        part.rows = (Raw(None, row.line, row.trouble) for row in chain(begin, rows))
        return
    ways = [chosen] if chosen is not None else _headers(whole, part.named)
    head = [row for row in whole if row.line in ways[0]]
    if chosen and not head:
        raise UserError(tr("The table has no row {header}.", header=_written(chosen)),
                        tr("Its column names are looked for in the first {n:,} rows.", n=LOOKED_AT),
                        tr("Choose another row."))
    if chosen is None and not head:
        whole = whole[_titles(whole):]
    first = head[-1].line + 1 if head else whole[0].line
    below = [row for row in begin if row.line >= first or row.trouble is not None]
    if head:
        names = _unique(_joined([row.cells for row in head]), part.notes)
    else:
        names = _names_by_look([row.cells for row in whole])
        part.notes.append(tr("The first row was read as data, as it contains no column names. The columns were read as "
                             "{names}.", names=", ".join(names[:12])))
    part.columns = tuple(filter(None, names))
    part.rows = _rows(chain(below, rows), names, head)
    if len(ways) > 1:
        evidence = (Evidence("header_rows", {"row": ways[-1][-1]}) if ways[-1] else Evidence("words_only"),)
        part.choose(UNSURE, (), [Candidate("table", options=ReadOptions(header=_written(way)),
                                           certainty=UNSURE - 0.1 * at, evidence=evidence)
                                 for at, way in enumerate(ways) if at], header=_written(ways[0]))
    if len(part.columns) == 1:
        texts.read_column(part)


def _written(rows: range) -> str:
    return "none" if not rows else str(rows[0]) if len(rows) == 1 else f"{rows[0]}-{rows[-1]}"


def _headers(whole: Sequence[TableRow], said: Sequence[str]) -> list[range]:
    """The rows that may hold the names, the likeliest first; empty ranges where none does."""
    below = whole[_titles(whole):]
    first, second = below[0], below[min(1, len(below) - 1)]
    cells = [row.cells for row in below]
    one, other = range(first.line, first.line + 1), range(second.line, second.line + 1)
    has_names = is_header(cells) or (bool(said) and set(said) <= {cell.strip() for cell in first.cells})
    is_plain = names_both(first.cells) and not any(map(is_known, filter(None, map(str.strip, second.cells))))
    if not is_plain and not (said and has_names) and _is_second(cells):
        both = range(first.line, second.line + 1)
        return [other, both, one] if names_both(second.cells) else [both, one, other]
    if has_names:
        return [one]
    if said or not _may_name(cells):
        return [range(0)]
    is_named = any(is_known(cell) or is_language(cell) or all_words(cell) & HEAD_WORDS for cell in cells[0])
    return [one, range(0)] if is_named and not _recurs(cells[0], cells[1:]) else [range(0), one]


def _recurs(first: list[str], rest: list[list[str]]) -> bool:
    """Whether a word of the first row is in another one, too; where a header is repeated, that has all of them."""
    recurring = [any(cell == row[at] for row in rest if at < len(row)) for at, cell in enumerate(first) if cell]
    return any(recurring) and not all(recurring)


def _may_name(rows: list[list[str]]) -> bool:
    """Whether the first row may hold names though nothing tells it from the others, which hold single words, too."""
    first = [cell.strip() for cell in rows[0]]
    while first and not first[-1]:  # columns that are blank as a whole
        first.pop()
    return len(first) > 1 and len(rows) > LEAST_BELOW and len(set(map(str.casefold, first))) == len(first) and not any(
        not cell or _is_value(cell) for cell in first)


def _is_second(rows: list[list[str]]) -> bool:
    """Whether the second row looks like names, too: short words, below the first row's, above longer texts or
    numbers."""
    if len(rows) < LEAST_BELOW + 2:
        return False
    above, second, rest = rows[0], [cell.strip() for cell in rows[1]], rows[2:]
    filled = [cell for cell in second if cell]
    if len(filled) < 2 or any(map(_is_value, [*filled, *(cell.strip() for cell in above if cell.strip())])):
        return False
    below = {at: [row[at].strip() for row in rest if at < len(row) and row[at].strip()]
             for at, cell in enumerate(second) if cell}
    unlike = sum(len(cells) >= LEAST_BELOW and (
        all(map(_NUMBER.fullmatch, cells)) or all(len(cell) > 1.5 * len(second[at]) and " " in cell for cell in cells))
        for at, cells in below.items())
    return unlike > 1 and 2 * unlike >= len(filled)


def _is_value(cell: str) -> bool:
    """Whether a cell hardly is a name: long, a sentence, a number, or a code."""
    return len(cell) > LONGEST_NAME or len(cell.split()) > 4 or any(
        each(cell) is not None for each in (_SENTENCE.search, _NUMBER.fullmatch, _CODE.fullmatch))


def _joined(rows: list[list[str]]) -> list[str]:
    """The names in several rows: those above hold for the blank cells to their right."""
    carried = []
    for cells in rows[:-1]:
        name = ""
        carried.append([name := cell.strip() or name for cell in cells])
    carried.append([cell.strip() for cell in rows[-1]])
    width = max(map(len, carried))
    columns = zip(*([*cells, *[""] * (width - len(cells))] for cells in carried), strict=True)
    return [" ".join(dict.fromkeys(filter(None, cells))) for cells in columns]


def _unique(names: list[str], notes: list[str]) -> list[str]:
    """The names, the second of two equal ones with a number."""
    taken = {name.casefold() for name in names}
    count: Counter[str] = Counter()
    found, renamed = [], []
    for name in names:
        key, free = name.casefold(), name
        count[key] += 1
        if name and count[key] > 1:
            while (free := f"{name} {count[key]}").casefold() in taken:
                count[key] += 1
            renamed.append(free)
        found.append(free)
    if renamed:
        notes.append(ntr("{n:,} column has the name of another one and was renamed: {names}.",
                         "{n:,} columns have the names of others and were renamed: {names}.", len(renamed),
                         names=", ".join(f'"{printable(name)}"' for name in renamed[:5])))
    return found


def _rows(rows: Iterator[TableRow], names: list[str], head: Sequence[TableRow]) -> Iterator[Raw]:
    repeated = [row.cells for row in head]
    for row in rows:
        if row.trouble is not None:
            yield Raw(None, row.line, row.trouble)
        elif row.cells in repeated:
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
    if _above_numbers(first, rest):
        return True
    are_short = MOST_LONG * sum(len(cell) > LONGEST_NAME for cell in filled) <= len(filled)
    return are_short and (_are_known(filled) or (bool(rest) and _differ(first, rest)))


def _above_numbers(first: list[str], rest: list[list[str]]) -> bool:
    """Whether words of any length are above numbers in most columns."""
    below = [[row[at].strip() for row in rest if at < len(row) and row[at].strip()] for at in range(len(first))]
    found = sum(len(cells) > 2 and bool(name) and not _NUMBER.fullmatch(name) and all(map(_NUMBER.fullmatch, cells))
                for name, cells in zip(first, below, strict=True))
    return found > 1 and 2 * found > len(first)


def _are_known(filled: list[str]) -> bool:
    """Whether cells are called as columns are."""
    is_short = {cell.casefold() for cell in filled} == {"q", "a"}
    return is_short or names_both(filled) or any(map(is_language, filled)) or (
        any(map(is_sure, filled)) and sum(map(is_known, filled)) * 2 >= min(len(filled), 4))


def _differ(first: list[str], rest: list[list[str]]) -> bool:
    """Whether the cells of the first row are names by what is below them: single words above no such words, words above
    numbers, short words above longer texts."""
    filled = [cell for cell in first if cell]
    if all(map(_IDENTIFIER.fullmatch, filled)) and not any(
            all(_IDENTIFIER.fullmatch(cell.strip()) for cell in row if cell.strip()) for row in rest):
        return True
    if any(_SENTENCE.search(cell) or _NUMBER.fullmatch(cell) for cell in filled):
        return False
    below = [[row[at].strip() for row in rest if at < len(row) and row[at].strip()] for at in range(len(first))]
    columns = [(name, cells) for name, cells in zip(first, below, strict=True) if name and cells]
    if _recurs(first, rest):
        return False
    if any(len(cells) > 2 and all(map(_NUMBER.fullmatch, cells)) for _, cells in columns):
        return True  # a word above numbers
    longer = sum((sum(map(len, cells)) > 1.5 * len(name) * len(cells)
                  and sum(len(cell) > len(name) for cell in cells) >= MOST_LONGER * len(cells))
                 or all(map(_NUMBER.fullmatch, cells))
                 or (_CODE.fullmatch(name) is None and all(map(_CODE.fullmatch, cells)))
                 or (len(cells) > 3 and name not in cells and 2 * len(set(cells)) <= len(cells))
                 for name, cells in columns)
    return (longer + any(map(is_sure, filled))) * 2 > len(columns)


def names_both(cells: list[str]) -> bool:
    """Whether cells name both a question and an answer."""
    names = [cell for cell in cells if len(cell) <= LONGEST_NAME and not _SENTENCE.search(cell)]
    return ask_and_answer(names) is not None


def _names_by_look(rows: list[list[str]]) -> list[str]:
    """MMLU's own order, question, choices and a letter, where most rows have that; otherwise numbers."""
    columns = Counter(map(len, rows)).most_common(1)[0][0]
    letters = LETTERS[:max(0, columns - 2)]
    last = [cells[-1].strip() for cells in rows if len(cells) == columns]
    marks = [text for text in last if (re.fullmatch(r"\d", text) and int(text) <= len(letters)) or (
        len(text) == 1 and text.upper() in letters)]
    asked = [cells[0].strip() for cells in rows if len(cells) == columns]
    if columns >= 4 and 2 * len(marks) >= len(last) and not all(map(_NUMBER.fullmatch, asked)):
        return ["question", *letters, "answer"]
    if columns == 2:
        first, second = ([cells[at].strip() for cells in rows if len(cells) == 2] for at in (0, 1))
        # A class before its text, as in the table of SMS spam; a question comes once or twice.
        few = len(first) > 3 and len(set(first)) * 2 <= len(first) < 2 * len(set(second)) and len(set(first)) > 1
        # A dictionary has a word's meanings below each other, and many words.
        is_sorted = 1 + sum(one != other for one, other in pairwise(first)) == len(set(first)) > 3
        if few and not is_sorted and max(map(len, first)) <= LONGEST_NAME:
            return ["label", "text"]
        if is_counted(first):
            return ["id", "text"]
        if 2 * sum(_ASKS.search(cell) is not None for cell in first) > len(first):
            return ["question", "answer"]
    return ["text"] if columns == 1 else [f"column {number}" for number in range(1, columns + 1)]


def _titles(rows: Sequence[TableRow]) -> int:
    """How many rows above a table are its title: rows of one cell, where the others have more; or those above the one
    that names question and answer, which has more names than they have."""
    filled = [sum(1 for cell in row.cells if cell.strip()) for row in rows]
    named = next((at for at, row in enumerate(rows[:MOST_TITLES]) if names_both(row.cells)), 0)
    if named and max(filled[:named]) < filled[named]:
        return named
    first = next((at for at, cells in enumerate(filled) if cells > 1), 0)
    return first if filled.count(1) * 2 < len(rows) and len({len(row.cells) for row in rows[first:]}) == 1 else 0


def names_of(rows: Sequence[TableRow]) -> frozenset[str]:
    """The names of a table that begins so, by which it is compared with others; empty of one without names."""
    whole = [row for row in rows if row.trouble is None]
    ways = _headers(whole, ()) if whole else [range(0)]
    head = [row.cells for row in whole if row.line in ways[0]]
    return frozenset(name.casefold() for name in _joined(head) if name) if head else frozenset()
