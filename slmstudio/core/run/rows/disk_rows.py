"""Rows on the disk that are read on demand, so that a million of them take no memory."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import compress, islice, repeat
from pathlib import Path
from typing import Any, overload

import orjson

from slmstudio.core import files
from slmstudio.core.data.record import Record

# -- A record as a line of JSON, and back.


def dump(record: Record, columns: Any = None) -> bytes:
    """The record without what is empty.

    Args:
        columns: the JSON value that its row had in the file, where that is to be kept too.
    """
    if columns is None and record.text is None and not record.has_tools:
        with contextlib.suppress(orjson.JSONEncodeError):  # half a character
            return orjson.dumps(_without_empty(record, None)) + b"\n"
    return dump_spaced(record, columns)


def dump_spaced(record: Record, columns: Any = None) -> bytes:
    """As `dump` wrote each record before it took the quicker writer: with a space after each comma and colon."""
    return as_json(_without_empty(record, columns))


def _without_empty(record: Record, columns: Any) -> dict[str, Any]:
    said = {"messages": record.messages or None, "rejected": record.rejected, "desirable": record.desirable,
            "text": record.text, "tools": record.tools or None, "file": record.file or None,
            "group": record.group or None, "columns": columns}
    return {"line": record.line} | {name: value for name, value in said.items() if value is not None}


def load(line: bytes) -> tuple[Record, Any]:
    """The record, and its columns; None if none were kept.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: the line is none that `dump` has made.
    """
    state = _parsed(line)
    # Written out, so that the keys of a million messages are one text each.
    messages = tuple({"role": each["role"], "content": each["content"]} if len(each) == 2 else each
                     for each in state.get("messages", ()))
    return Record(messages, state["line"], state.get("rejected"), state.get("desirable"), state.get("text"),
                  tuple(state.get("tools", ())), state.get("file", ""), state.get("group", "")), state.get("columns")


def _parsed(line: bytes) -> Any:
    """A line's JSON. Columns and tools may hold numbers beyond 64 bits, which the quicker reader would round."""
    if b'"columns"' not in line and b'"tool' not in line:
        with contextlib.suppress(orjson.JSONDecodeError):  # half a character
            return orjson.loads(line)
    return json.loads(line)


def as_json(value: Any) -> bytes:
    """A JSON value on a line of its own. Half a character, as columns that nobody reads may hold, is escaped."""
    try:
        return json.dumps(value, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:
        return json.dumps(value).encode() + b"\n"


BUFFER = 1 << 20
"""Bytes that are written at once."""


class DiskRows(Sequence[Record]):
    """Rows in their order; each look through them reads the file again.

    Args:
        read: begins to read the lines, as `dump` has made them.
        parse: makes a record of a line.
    """

    def __init__(self, read: Callable[[], Iterator[bytes]], count: int,
                 parse: Callable[[bytes], Record] = lambda line: load(line)[0]):
        self.lines, self._count, self._parse = read, count, parse

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Record]:
        return map(self._parse, self.lines())

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        if isinstance(index, slice):
            start, stop, step = index.indices(self._count)
            return list(islice(self, start, stop, step)) if step > 0 else list(self)[index]
        place = range(self._count)[index]
        return next(islice(self, place, None))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(Record.__eq__, self, other))

    __hash__ = None  # type: ignore[assignment]


class RowWriter:
    """Takes records into a file, in place of a list: what `core.data.reader` may keep them in."""

    def __init__(self, path: Path):
        self._path, self._count = path, 0
        self._file = open(path, "wb", buffering=BUFFER, opener=files.own)  # noqa: SIM115

    def append(self, record: Record) -> None:
        self._file.write(dump(record))
        self._count += 1

    def extend(self, records: Iterable[Record]) -> None:
        for record in records:
            self.append(record)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Record]:
        return iter(self.part(repeat(True), self._count))

    def part(self, wanted: Iterable[Any], count: int) -> DiskRows:
        """The records that `wanted` accepts; `count` of them."""
        self._file.flush()
        return DiskRows(lambda: compress(self._lines(), wanted), count)

    def close(self) -> None:
        self._file.close()

    def _lines(self) -> Iterator[bytes]:
        with open(self._path, "rb", buffering=BUFFER, opener=files.own) as file:
            yield from file


def raw_lines(records: Sequence[Record], columns: Iterable[Any] | None,
              write: Callable[[Record, Any], bytes] = dump) -> Iterator[bytes]:
    """Each record as a line, with its columns where there are any; of rows on the disk without, as they are there."""
    if columns is None and isinstance(records, DiskRows) and write is dump:
        return records.lines()
    return (write(record, row) for record, row in zip(records, columns or repeat(None), strict=False))
