"""Reads a dataset as a line of text says: see `read_options`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from slmstudio.core.data.collector import Store
from slmstudio.core.data.read_options import parse, written
from slmstudio.core.data.reader import Dataset, read_dataset

__all__ = ["of", "parse", "read", "written"]


def of(dataset: Dataset) -> str | None:
    """What was said about a dataset when it was read."""
    return written(dataset.given, dataset.options)


def read(path: Path, text: str | None, progress: Callable[[int, int], None] | None = None,
         cancelled: Callable[[], bool] | None = None, store: Callable[[], Store] = list) -> Dataset:
    """Read a dataset as somebody said. Raises as `read_dataset`, and UserError where `text` can't be read."""
    columns, options = parse(text)
    return read_dataset(path, progress, cancelled, columns or None, options, store)
