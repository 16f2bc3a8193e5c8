"""Rows of Parquet and Arrow tables, by pyarrow, a batch at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from slmstudio.core.data.candidates import Part
from slmstudio.core.data.source import Source
from slmstudio.core.data.sources.row import Raw, plain
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr

BATCH = 500
"""Rows that are turned into objects at a time."""
_INDEX = "__index_level_"
"""What pandas calls the column of its row numbers."""


def read(part: Part, file: BinaryIO, source: Source) -> None:
    """The rows of a table. Raises as `arrow_rows`, while they are read."""
    part.rows = arrow_rows(file, source.name, part.format == "parquet")


def arrow_rows(file: BinaryIO, name: str, is_parquet: bool) -> Iterator[Raw]:
    """All rows of a table; the file must stay open meanwhile.

    Raises:
        UserError: it is damaged, or was cut short.
    """
    import pyarrow

    number = 0
    try:
        schema, batches = _batches(file, is_parquet)
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


def _batches(file: BinaryIO, is_parquet: bool) -> tuple[Any, Iterator[Any]]:
    """The schema of a table, and its rows, at most `BATCH` at a time."""
    import pyarrow
    from pyarrow import parquet

    if is_parquet:
        table = parquet.ParquetFile(file)
        return table.schema_arrow, table.iter_batches(batch_size=BATCH)
    is_file = file.read(6) == b"ARROW1"
    file.seek(0)
    opened = pyarrow.ipc.open_file(file) if is_file else pyarrow.ipc.open_stream(file)
    whole = map(opened.get_batch, range(opened.num_record_batches)) if is_file else opened
    return opened.schema, (batch.slice(start, BATCH) for batch in whole for start in range(0, batch.num_rows, BATCH))


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
