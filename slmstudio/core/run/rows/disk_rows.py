"""Rows on the disk that are read on demand, so that a million of them take no memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import compress, islice, repeat
from pathlib import Path
from typing import Any, overload

from slmstudio.core import files
from slmstudio.core.data.record import Record
from slmstudio.core.run.rows import lines

BUFFER = 1 << 20
"""Bytes that are written at once."""


class DiskRows(Sequence[Record]):
    """Rows in their order; each look through them reads the file again.

    Args:
        read: begins to read the lines, as `lines.dump` has made them.
        load: makes a record of a line.
    """

    def __init__(self, read: Callable[[], Iterator[bytes]], count: int,
                 load: Callable[[bytes], Record] = lambda line: lines.load(line)[0]):
        self.lines, self._count, self._load = read, count, load

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Record]:
        return map(self._load, self.lines())

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
        self._file.write(lines.dump(record))
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
              dump: Callable[[Record, Any], bytes] = lines.dump) -> Iterator[bytes]:
    """Each record as a line, with its columns where there are any; of rows on the disk without, as they are there."""
    if columns is None and isinstance(records, DiskRows) and dump is lines.dump:
        return records.lines()
    return (dump(record, row) for record, row in zip(records, columns or repeat(None), strict=False))
