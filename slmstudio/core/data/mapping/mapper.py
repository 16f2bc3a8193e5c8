"""Reads rows by what their columns hold, as it was guessed or as a user says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from slmstudio.core.data import column_names as names
from slmstudio.core.data.candidates import SURE, Evidence
from slmstudio.core.data.mapping import choices, published, ratings
from slmstudio.core.data.mapping.guess import guess, guesses
from slmstudio.core.data.mapping.look import TARGETS, ColumnMap, MadeColumn, made_of, needed
from slmstudio.core.data.mapping.published import rows_of
from slmstudio.core.data.mapping.row_reader import RowReader
from slmstudio.core.data.mapping.turns import NotText, is_asked, is_conversation, messages_of
from slmstudio.core.data.read_options import JOIN, NO_OPTIONS, ReadOptions
from slmstudio.core.data.rows import ColumnsMissing, Row, RowError, not_an_object
from slmstudio.core.data.strict_json import printable
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr

# -- What a user says about a file's columns.

_ALIASES = {"question": "instruction", "answer": "output", "response": "output", "context": "input", "good": "chosen",
            "bad": "rejected", "better": "chosen", "worse": "rejected", "conversations": "messages"}
_MARKS = (("preference", {"chosen", "rejected", "ranked"}), ("labelled", {"label"}), ("messages", {"messages"}),
          ("text", {"text"}))
"""The layout of columns with one of these targets; that of others is "instruction"."""
_RENAMED = {("instruction", "preference"): "prompt", ("instruction", "labelled"): "prompt",
            ("output", "labelled"): "completion", ("messages", "labelled"): "completion",
            ("messages", "preference"): "prompt", ("prompt", "instruction"): "instruction",
            ("completion", "instruction"): "output"}
"""What a target is called in a layout."""


def given_map(given: Mapping[str, str], columns: Sequence[str], rows: Sequence[Mapping[str, Any]] = (),
              options: ReadOptions = NO_OPTIONS) -> ColumnMap:
    """What a user says about the columns.

    Args:
        given: the column of each target, or several joined by " + ", or a JMESPath expression for a part of one;
            "choices" may name several, with commas between.
        rows: some rows with the columns.

    Raises:
        UserError: a target or a column that doesn't exist, or has nothing to learn in it; or a target that is missing.
    """
    wanted = {_ALIASES.get(target.strip().casefold(), target.strip().casefold()): column
              for target, column in given.items()}
    layout = next((layout for layout, marks in _MARKS if marks & wanted.keys()), "instruction")
    wanted = {_RENAMED.get((target, layout), target): column for target, column in wanted.items()}
    _check_targets(wanted, layout)
    series = _series(wanted, columns)
    join = JOIN if options.join is None else options.join
    made = {name: found for name in wanted.values() if name not in columns
            and (found := made_of(name, columns, rows, join)) is not None}
    check_columns((name for name in (*wanted.values(), *series) if name not in made), columns)
    missing = [target for target in needed(layout, wanted) if target not in wanted]
    if missing:
        raise UserError(tr('No column was chosen for "{target}".', target=missing[0]),
                        tr("Without it there is nothing to learn."),
                        tr("Choose one, for example --map {target}=COLUMN.", target=missing[0]))
    _check_contents((wanted[target] for target in needed(layout, wanted)), made)
    return ColumnMap(layout, wanted, series, made)


def _check_targets(wanted: Mapping[str, str], layout: str) -> None:
    known = sorted({target for targets in TARGETS.values() for target in targets})
    for target in wanted:
        if target not in TARGETS[layout]:
            possible = (tr("Together with the other columns it can be {targets}.", targets=", ".join(TARGETS[layout]))
                        if target in known else tr("It can be {targets}.", targets=", ".join(known)))
            raise UserError(tr('A column can\'t be used as "{target}" here.', target=printable(target)), possible,
                            tr("Choose one of them, for example --map instruction=Question."))


def _check_contents(columns: Iterable[str], made: Mapping[str, MadeColumn]) -> None:
    for column in columns:
        if column not in made and names.column(column) in names.PICTURES:
            raise UserError(tr('"{column}" holds pictures, sounds or videos.', column=printable(column)),
                            tr("Models learn only from text here."), tr("Choose another column."))


def _series(wanted: dict[str, str], columns: Sequence[str]) -> tuple[str, ...]:
    """The columns with a choice each where "choices" names several, which are taken out of `wanted`."""
    said = wanted.get("choices", "")
    if said in columns or "," not in said:
        return ()
    return tuple(name.strip() for name in wanted.pop("choices").split(","))


def check_columns(wanted: Iterable[str], columns: Sequence[str]) -> None:
    """Raises UserError: one of those that a user named doesn't exist."""
    for column in wanted:
        if column not in columns:
            shown = ", ".join(f'"{printable(name)}"' for name in columns[:12])
            raise UserError(tr('There is no column "{column}".', column=printable(column)),
                            tr("The columns are {names}.", names=shown) if columns else tr("The file has no columns."),
                            tr("Choose one of them."))


SAMPLE = 300
"""Rows by which the columns are guessed."""
_SEVERAL = 4
"""With at least so many conversations, how most of them end is taken to be on purpose."""
MOST_SHAPES = 256
"""Sets of columns that are remembered; a file with more has keys that are data."""


class Mapper:
    """Reads rows of one file.

    Args:
        sample: values of the first rows.
        given: the column of each target, where a user has said it.
        options: what else a user has said.
        asks: whether a user will be asked about what is unsure; otherwise, what is only possible is left out.

    Raises:
        UserError: what is given doesn't fit the rows.

    Attributes:
        sample: the first rows, by column.
        main: what the columns of most rows hold; None if they tell nothing.
        columns: those that the sample has, and those of several languages that were read as rows.
        maps: what they may hold, the surest first; `main` is the first one.
        published: the entry of the layout that the rows have as they are published; None of most files.
        is_given: whether a user has said it.
        has_templates: whether what is asked is a conversation written as one text, as by a chat template.
    """

    def __init__(self, sample: Sequence[Any], given: Mapping[str, str] | None = None,
                 options: ReadOptions = NO_OPTIONS, asks: bool = True):
        self.sample = [value for each in sample[:SAMPLE] for value in rows_of(each, not given)
                        if isinstance(value, dict)]
        columns = tuple(dict.fromkeys(name for value in self.sample for name in value))
        self.columns = tuple(dict.fromkeys((*columns, *(name for each in sample[:SAMPLE] if isinstance(each, dict)
                                                        for name in each if names.LANGUAGE.fullmatch(name)))))
        self.maps = (given_map(given, columns, self.sample, options),) if given else guesses(
            columns, self.sample, use_marks=options.marks != "ignore", asks=asks) if columns else ()
        if options.marks != "ignore" and any(map(published.refusal, sample[:SAMPLE])):
            mark = Evidence("mark_decides", {"column": "answer"})
            self.maps = tuple(replace(each, evidence=(*each.evidence, mark)) for each in self.maps)
        self.main = next(iter(self.maps), None)
        self.published = published.most_common(sample[:20])
        self.is_given = bool(given)
        self.has_templates = self.main is not None and _has_templates(self.main, self.sample)
        self._first = _first_choice(self.main, self.sample) if self.main is not None else None
        self._options = replace(options, unanswered="drop") if options.unanswered is None and _ask_last(
            self.main, self.sample) else options
        self._made = self.main.made if self.main is not None else {}
        self._readers: dict[tuple[str, ...], RowReader | None] = {}

    @property
    def is_plain(self) -> bool:
        """Whether nothing but the texts of columns is learned, so that whole blocks of rows can be read at once."""
        return not self.has_templates and not self._made

    def read(self, value: Any) -> list[Row]:
        """What a row says: most often one thing.

        Raises:
            RowError: everything that is wrong with it.
            ColumnsMissing: it is an object whose columns tell nothing.
        """
        rows = rows_of(value, not self.is_given)
        if rows[0] is value:
            return self._read(value)  # as most are
        if self._options.marks != "ignore" and (refused := published.refusal(value)):
            raise RowError([("answer", refused)])
        note = published.note_of(value) if len(rows) > 1 else None
        return [row._replace(note=note or row.note) for each in rows for row in self._read(each)]

    def _read(self, value: Any) -> list[Row]:
        """What one row of those says."""
        if not isinstance(value, dict):
            raise RowError([("", not_an_object(value))])
        if self._made:
            value = value | {name: made.of(value) for name, made in self._made.items()}
        keys = tuple(value)
        try:
            reader = self._readers[keys]
        except KeyError:
            reader = self._reader(keys, value)
        if reader is None or not reader.fits(value):
            filled = {name: each for name, each in value.items() if each is not None}
            reader = (self._reader(tuple(filled), filled) if len(filled) < len(value) else None) or reader
            if reader is None:
                raise ColumnsMissing(keys)
        return reader.read(value)

    def _reader(self, keys: tuple[str, ...], value: dict[str, Any]) -> RowReader | None:
        if keys in self._readers:
            return self._readers[keys]
        found = self.main
        if not self.is_given and (found is None or not found.used <= set(keys)):
            found = self._closest(keys, [row for row in self.sample if tuple(row) == keys] or [value])
        needs_pictures = not self.is_given and found is not None and found.certainty >= SURE and not names.is_head(
            found.columns.get("instruction", ""))
        reader = RowReader(found, keys, self._first, self.has_templates, self._options,
                           needs_pictures) if found is not None else None
        if len(self._readers) < MOST_SHAPES:
            self._readers[keys] = reader
        return reader

    def _closest(self, keys: tuple[str, ...], alike: list[dict[str, Any]]) -> ColumnMap | None:
        """The file's map for rows that lack some of its columns, unless their own says more."""
        main, own = self.main, guess(keys, alike, by_look=False)
        if main is None or not set(main.needed) <= set(keys):
            return own
        here = len(main.used & set(keys))
        return main if own is None or (own.layout == main.layout and len(own.used) <= here) else own


def _first_choice(columns: ColumnMap, rows: Sequence[Mapping[str, Any]]) -> Any:
    """How the rows count their choices, as `choices.counting` finds it, or two answers."""
    if "winner" in columns.columns:
        return ratings.counted_from(row.get(columns.columns["winner"]) for row in rows)
    if not columns.choices:
        return None
    return choices.counting(rows, columns.choices, columns.columns["output"])


def _ask_last(columns: ColumnMap | None, rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether most conversations end with what nobody answers: then it isn't a mistake, but how they were cut."""
    if columns is None or columns.layout != "messages":
        return False
    column = columns.columns["messages"]
    found: list[Any] = []
    for row in rows[:20]:
        with suppress(NotText):
            found += [messages_of(row[column], column, [], set())[0]] if is_conversation(row.get(column)) else []
    lasts = [each[-1] for each in found if isinstance(each, list) and len(each) > 2]
    return len(found) >= _SEVERAL and 2 * sum(
        isinstance(each, dict) and each.get("role") == "user" for each in lasts) > len(rows[:20])


def _has_templates(columns: ColumnMap, rows: Sequence[Mapping[str, Any]]) -> bool:
    asked = columns.columns.get("instruction", columns.columns.get("prompt"))
    return asked is not None and any(isinstance(row.get(asked), str) and is_asked(row[asked]) for row in rows[:20])
