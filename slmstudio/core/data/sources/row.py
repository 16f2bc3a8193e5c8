"""One row as a file holds it, before anyone says what it means."""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from slmstudio.core.errors import Problem
from slmstudio.core.i18n import tr

MOST_FIELDS = 10_000
"""More fields than that, and a row is a whole table that was written as one; finding a question among them would take
minutes."""
SHOWN_CHARACTERS = 200
"""Characters of a value that is shown as a column's example."""


class Raw(NamedTuple):
    """One row.

    Attributes:
        value: an object by its columns, of a document {"text": …}; or another JSON value, which isn't a row.
        line: 1-based line where it begins; of a table without lines, its row; of a PDF, its page.
        problem: why there is no value; None when there is.
    """

    value: Any
    line: int
    problem: Problem | None = None


def bounded(rows: Iterable[Raw]) -> Iterator[Raw]:
    """The same rows; one with more than MOST_FIELDS fields is a problem instead."""
    for raw in rows:
        if isinstance(raw.value, dict) and len(raw.value) > MOST_FIELDS:
            raw = Raw(None, raw.line, Problem(tr(
                "The row has {fields:,} fields, and at most {most:,} are read. Write it as several rows.",
                fields=len(raw.value), most=MOST_FIELDS), raw.line))
        yield raw


def number_text(value: float) -> str:
    """A number as people write it: 3 for 3.0.

    >>> number_text(3.0), number_text(0.1), number_text(12)
    ('3', '0.1', '12')
    """
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)


def plain(value: Any) -> Any:
    """A value of a table in the types that JSON has: dates in ISO 8601, NaN as null, bytes by their size alone."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"<{len(value)} bytes>"
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return str(value)  # of dates and times that is ISO 8601


def cell_text(value: Any) -> str | None:
    """A cell of a sheet as text; None if it is empty."""
    value = plain(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return number_text(value)
    return value or None


def examples(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The first value of each column that holds something, as one line of text.

    >>> examples([{"a": "", "b": 3}, {"a": "one\\n two", "b": 4, "c": ["x"]}])
    {'b': '3', 'a': 'one two', 'c': '["x"]'}
    """
    found: dict[str, str] = {}
    for row in rows:
        for name, value in row.items():
            if name not in found and value not in (None, "", [], {}) and (text := one_line(value)):
                found[name] = text
    return found


def one_line(value: Any) -> str:
    """A value as one line of text that isn't long; "" of nothing."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return " ".join(text[:2 * SHOWN_CHARACTERS].split())[:SHOWN_CHARACTERS]


def with_words(rows: Iterable[Any], names: Iterable[str]) -> tuple[str, ...]:
    """Those of the columns that hold words somewhere, and not only numbers, dates, ids and addresses.

    Args:
        names: "messages.thinking" is the column "thinking" of the objects in "messages".

    >>> with_words([{"id": "q-17", "at": "2024-05-01", "turns": [{"mood": "हाँ"}]}], ["id", "at", "turns.mood"])
    ('turns.mood',)
    """
    rows = list(rows)
    return tuple(name for name in names if any(map(_has_words, (
        value for row in rows for value in _values(row, name)))))


def _values(row: Any, name: str) -> Iterator[Any]:
    """What a column holds, wherever below the first part of its name the last one is."""
    if isinstance(row, Mapping) and name in row:
        yield row[name]
    elif isinstance(row, Mapping) and (first := name.partition("."))[2] and first[0] in row:
        yield from _values(row[first[0]], first[2])
    elif isinstance(row, (list, Mapping)):
        for each in row.values() if isinstance(row, Mapping) else row:
            if isinstance(each, (list, Mapping)):
                yield from _values(each, name)


def _has_words(value: Any) -> bool:
    if isinstance(value, str):
        return any(map(_is_word, value[:2 * SHOWN_CHARACTERS].split()))
    if isinstance(value, Mapping):
        return any(map(_has_words, value.values()))
    return isinstance(value, (list, tuple)) and any(map(_has_words, value))


def _is_word(text: str) -> bool:
    """Whether it is letters, with marks and what stands around words: "(हाँ,", "don't", and not "q-17" or "a@b.in"."""
    kinds = [unicodedata.category(letter)[0] for letter in text.strip("\"'“”‘’()[]{}<>.,;:!?।…*_")]
    return "L" in kinds and "N" not in kinds and not set(text) & set("@/\\_")
