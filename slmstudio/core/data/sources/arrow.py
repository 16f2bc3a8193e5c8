"""Rows of Parquet and Arrow tables, by pyarrow, a batch at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from slmstudio.core.data.sources.row import Raw, plain
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr

BATCH = 500
"""Rows that are turned into objects at a time."""
_INDEX = "__index_level_"
"""What pandas calls the column of its row numbers."""


def arrow_rows(file: BinaryIO, name: str, is_parquet: bool) -> Iterator[Raw]:
    """All rows of a table; the file must stay open meanwhile.

    Raises:
        UserError: it is damaged, or was cut short.
    """
    import pyarrow

    number = 0
    try:
        schema, batches = _parquet(file) if is_parquet else _arrow(file)
        names = _class_names(schema.metadata)
        for batch in batches:
            for row in batch.to_pylist():
                number += 1
                yield Raw({key: _named(_without_nulls(plain(value)), names.get(key)) for key, value in row.items()
                           if not key.startswith(_INDEX)}, number)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        said = str(error).strip().splitlines()[0][:200].rstrip(".") if str(error).strip() else type(error).__name__
        raise UserError(tr("{name} is a damaged table, or was cut short.", name=name),
                        tr("Reading it failed: {error}.", error=said), tr("Copy or download it again.")) from error


def _parquet(file: BinaryIO) -> tuple[Any, Iterator[Any]]:
    from pyarrow import parquet

    opened = parquet.ParquetFile(file)
    return opened.schema_arrow, opened.iter_batches(batch_size=BATCH)


def _arrow(file: BinaryIO) -> tuple[Any, Iterator[Any]]:
    import pyarrow

    head = file.read(6)
    file.seek(0)
    if head != b"ARROW1":
        stream = pyarrow.ipc.open_stream(file)
        return stream.schema, _sliced(iter(stream))
    opened = pyarrow.ipc.open_file(file)
    return opened.schema, _sliced(opened.get_batch(at) for at in range(opened.num_record_batches))


def _sliced(batches: Iterator[Any]) -> Iterator[Any]:
    for batch in batches:
        for start in range(0, batch.num_rows, BATCH):
            yield batch.slice(start, BATCH)


def _class_names(metadata: dict[bytes, bytes] | None) -> dict[str, list[str]]:
    """The names of classes that Hugging Face's `datasets` keeps beside a column of numbers."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return {column: each["names"] for column, each in features.items()
                if isinstance(each, dict) and each.get("_type") == "ClassLabel" and isinstance(each.get("names"), list)}
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


def _named(value: Any, names: list[str] | None) -> Any:
    return names[value] if names and isinstance(value, int) and 0 <= value < len(names) else value


def _without_nulls(value: Any) -> Any:
    """Objects without the keys that hold nothing: a table gives each of them the keys of all."""
    if isinstance(value, dict):
        return {key: _without_nulls(each) for key, each in value.items() if each is not None}
    return [_without_nulls(each) for each in value] if isinstance(value, list) else value
