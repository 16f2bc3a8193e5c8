"""The rows of a file that records were read from, with all their columns."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from slmstudio.core.data import layouts
from slmstudio.core.data.mapping.mapper import Mapper
from slmstudio.core.data.opening import DataFile
from slmstudio.core.data.reader import Dataset, sampled
from slmstudio.core.data.record import Record
from slmstudio.core.data.rows import ColumnsMissing, Row, RowError


def columns_of(dataset: Dataset, wanted: Sequence[Record],
               cancelled: Callable[[], bool] | None = None) -> list[Any] | None:
    """The columns of each wanted record's row, in the file's order.

    The n-th usable row on a line is the n-th record of it.

    Args:
        wanted: some of the dataset's own records, in their order.

    Returns:
        The rows; None where the file holds plain text, or is another one by now.

    Raises:
        UserError: the file cannot be read.
        ReadingCancelled: `cancelled` said so.
    """
    if layouts.kind(dataset.layout) == "text":
        return None
    kind = layouts.kind(dataset.layout)
    chosen = {id(record) for record in wanted}
    places = {(record.file, record.line) for record in wanted}
    of_place: dict[tuple[str, int], list[Record]] = defaultdict(list)
    for record in dataset.records:
        if (record.file, record.line) in places:
            of_place[record.file, record.line].append(record)
    left = {place: iter(records) for place, records in of_place.items()}
    file = DataFile(dataset.path, dataset.choices, None, cancelled, dataset.given.values())
    rows = []
    for part in file.parts():
        mapper, everything = sampled(part, dataset.given)
        for raw in everything:
            if raw.problem is None and (part.name, raw.line) in left:
                said = _said(mapper, raw.value, kind)
                rows += [raw.value for _ in said if id(next(left[part.name, raw.line], None)) in chosen]
    return rows if len(rows) == len(wanted) and file.sha256 == dataset.sha256 else None


def _said(mapper: Mapper, value: Any, kind: str) -> list[Row]:
    """The usable rows of that kind that a row of the file has."""
    try:
        return [row for row in mapper.read(value) if layouts.kind(row.layout) == kind]
    except (RowError, ColumnsMissing):
        return []
