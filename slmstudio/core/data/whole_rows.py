"""The rows of a file that records were read from, with all their columns."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection
from itertools import compress
from typing import Any

from slmstudio.core.data import layouts
from slmstudio.core.data.jsonl import as_row
from slmstudio.core.data.mapping.mapper import Mapper
from slmstudio.core.data.opening import DataFile
from slmstudio.core.data.reader import Dataset, Record, sampled
from slmstudio.core.data.rows import ColumnsMissing, Row, RowError


def columns_of(dataset: Dataset, wanted: Collection[Any],
               cancelled: Callable[[], bool] | None = None) -> list[Any] | None:
    """The columns of each wanted record's row, in the file's order; of a row that became several records, the record
    alone, in columns of its own.

    The n-th usable row on a line is the n-th record of it.

    Args:
        wanted: of each of the dataset's records, whether it is.

    Returns:
        The rows; None if the file holds plain text, or is another one by now.

    Raises:
        UserError: the file can't be read.
        ReadingCancelled: `cancelled` said so.
    """
    if layouts.kind(dataset.layout) == "text":
        return None
    kind = layouts.kind(dataset.layout)
    places = {(record.file, record.line) for record in compress(dataset.records, wanted)}
    of_place: dict[tuple[str, int], list[Record | None]] = defaultdict(list)
    for record, is_wanted in zip(dataset.records, wanted, strict=True):
        if (record.file, record.line) in places:
            of_place[record.file, record.line].append(record if is_wanted else None)
    left = {place: iter(each) for place, each in of_place.items()}
    file = DataFile(dataset.path, dataset.options, None, cancelled, dataset.given.values())
    rows = []
    for part in file.parts():
        sample, everything = sampled(part)
        mapper = Mapper(sample, dataset.given, dataset.options)
        for raw in everything:
            if raw.problem is None and (part.name, raw.line) in left:
                said = _said(mapper, raw.value, kind)
                rows += [raw.value if len(said) == 1 else as_row(found) for _ in said
                         if (found := next(left[part.name, raw.line], None)) is not None]
    return rows if len(rows) == sum(map(bool, wanted)) and file.sha256 == dataset.sha256 else None


def _said(mapper: Mapper, value: Any, kind: str) -> list[Row]:
    """The usable rows of that kind that a row of the file has."""
    try:
        return [row for row in mapper.read(value) if layouts.kind(row.layout) == kind]
    except (RowError, ColumnsMissing):
        return []
