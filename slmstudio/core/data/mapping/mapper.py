"""Reads rows by what their columns hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from slmstudio.core.data import column_names as names
from slmstudio.core.data.mapping import choices, labels, notes
from slmstudio.core.data.mapping.given_map import given_map
from slmstudio.core.data.mapping.guess import guess
from slmstudio.core.data.mapping.look import ColumnMap
from slmstudio.core.data.mapping.opened import is_refused, rows_of
from slmstudio.core.data.mapping.row_reader import RowReader
from slmstudio.core.data.mapping.turns import (
    is_asked,
)
from slmstudio.core.data.read_options import NO_OPTIONS, ReadOptions
from slmstudio.core.data.rows import ColumnsMissing, Row, RowError, not_an_object
from slmstudio.core.data.sources.row import examples, with_words
from slmstudio.core.i18n import tr

SAMPLE = 300
"""Rows by which the columns are guessed."""
MOST_SHAPES = 256
"""Sets of columns that are remembered; a file with more has keys that are data."""


class Mapper:
    """Reads rows of one file.

    Attributes:
        main: what the columns of most rows hold; None if they tell nothing.
        columns: those that the sample has, and those of several languages that were read as rows.
        maps: what they may hold, the surest first; `main` is the first one.
        is_given: whether a user has said it.
        has_templates: whether what is asked is a conversation written as one text, as by a chat template.
    """

    def __init__(self, sample: Sequence[Any], given: Mapping[str, str] | None = None,
                 options: ReadOptions = NO_OPTIONS):
        self._options = options
        self._sample = [value for each in sample[:SAMPLE] for value in rows_of(each, not given)
                        if isinstance(value, dict)]
        columns = tuple(dict.fromkeys(name for value in self._sample for name in value))
        self.columns = tuple(dict.fromkeys((*columns, *(name for each in sample[:SAMPLE] if isinstance(each, dict)
                                                        for name in each if names.LANGUAGE.fullmatch(name)))))
        self.main = given_map(given, columns) if given else guess(columns, self._sample) if columns else None
        self.maps = () if self.main is None else (self.main,)
        self.is_given = bool(given)
        self.has_templates = self.main is not None and _has_templates(self.main, self._sample)
        self._first = _first_choice(self.main, self._sample) if self.main is not None else None
        self._readers: dict[tuple[str, ...], RowReader | None] = {}

    def examples(self) -> dict[str, str]:
        """The first value of each column, as one line of text."""
        return examples(self._sample)

    def lengths_of_texts(self) -> dict[str, float]:
        """Characters that the columns with words have on average."""
        return {name: sum(len(str(row.get(name) or "")) for row in self._sample) / len(self._sample)
                for name in self.with_words(self.columns)}

    def with_words(self, names: Iterable[str]) -> tuple[str, ...]:
        """Those of the columns that hold words."""
        return with_words(self._sample, names)

    def read(self, value: Any) -> list[Row]:
        """What a row says: most often one thing.

        Raises:
            RowError: everything that is wrong with it.
            ColumnsMissing: it is an object whose columns tell nothing.
        """
        if is_refused(value) and self._options.marks != "ignore":
            raise RowError([("answer", tr("the annotator didn't accept this row. To learn such rows, too: {option}",
                                          option="--map marks=ignore"))])
        rows = rows_of(value, not self.is_given)
        if len(rows) == 1:
            return self._read(rows[0])
        note = notes.IN_LANGUAGES if isinstance(rows[0], dict) and "messages" in rows[0] else None
        return [row._replace(note=note) for each in rows for row in self._read(each)]

    def _read(self, value: Any) -> list[Row]:
        """What one row of those says."""
        if not isinstance(value, dict):
            raise RowError([("", not_an_object(value))])
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
            found = self._closest(keys, [row for row in self._sample if tuple(row) == keys] or [value])
        reader = RowReader(found, keys, self._first, self.has_templates) if found is not None else None
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


def _first_choice(columns: ColumnMap, rows: Sequence[Mapping[str, Any]]) -> int | None:
    """What number the rows give to the first of their choices, as `choices.first_place` finds it; or of two answers."""
    if "winner" in columns.columns:
        return labels.counted_from(row.get(columns.columns["winner"]) for row in rows)
    if not columns.choices:
        return None
    return choices.first_place(
        (choices.offered(row, columns.choices), row.get(columns.columns["output"])) for row in rows)


def _has_templates(columns: ColumnMap, rows: Sequence[Mapping[str, Any]]) -> bool:
    asked = columns.columns.get("instruction", columns.columns.get("prompt"))
    return asked is not None and any(isinstance(row.get(asked), str) and is_asked(row[asked]) for row in rows[:20])
