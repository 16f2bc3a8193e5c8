"""Records as rows of a file again: with all columns that theirs had, or as a row that says the same."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from slmstudio.core.data import layouts
from slmstudio.core.data.reader import TEXT_SUFFIXES, Dataset
from slmstudio.core.data.record import Record
from slmstudio.core.data.row_texts import cut
from slmstudio.core.data.rows import ColumnsMissing, RowError, read_row
from slmstudio.core.data.source import Source
from slmstudio.core.data.strict_json import NotJson, parse


def columns_of(dataset: Dataset, wanted: Sequence[Record],
               cancelled: Callable[[], bool] | None = None) -> list[Any] | None:
    """The JSON value of each wanted record's row, in the file's order.

    The file is cut as `read_dataset` cuts it, and rows are parsed only on the lines where a wanted one begins: the n-th
    usable row of such a line is the n-th record of it.

    Args:
        wanted: some of the dataset's own records, in their order.

    Returns:
        The rows; None where the file has none of JSON, or is another one by now.

    Raises:
        UserError: the file cannot be read.
        ReadingCancelled: `cancelled` said so.
    """
    if dataset.path.suffix.lower() in TEXT_SUFFIXES and layouts.kind(dataset.layout) == "text":
        return None
    places, chosen = {record.line for record in wanted}, {id(record) for record in wanted}
    of_line: dict[int, list[Record]] = defaultdict(list)
    for record in dataset.records:
        if record.line in places:
            of_line[record.line].append(record)
    left = {line: iter(records) for line, records in of_line.items()}
    kind, source = layouts.kind(dataset.layout), Source(dataset.path, cancelled=cancelled)
    rows = []
    for piece in cut(source.chunks()):
        if piece.line not in left or piece.trouble:
            continue
        try:
            if layouts.kind(read_row(parse(piece.text)).layout) != kind:
                continue
        except (NotJson, RowError, ColumnsMissing):
            continue
        if id(next(left[piece.line], None)) in chosen:
            # Read again without `parse`, for which every number is a float.
            rows.append(json.loads(piece.text))
    return rows if len(rows) == len(wanted) and source.sha256 == dataset.sha256 else None


def as_row(record: Record) -> dict[str, Any]:
    """A row of a file from which the record is read again."""
    if record.text is not None:
        return {"text": record.text}
    beside = {"tools": list(record.tools)} if record.tools else {}
    asked, answer = list(record.messages[:-1]), list(record.messages[-1:])
    if record.rejected is not None:
        return {"prompt": asked, "chosen": answer, "rejected": [{"role": "assistant", "content": record.rejected}],
                **beside}
    if record.desirable is not None:
        return {"prompt": asked, "completion": answer, "label": record.desirable, **beside}
    return {"messages": list(record.messages), **beside}
