"""Reads a test set: every usable row, and everything that is wrong with the others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from slmstudio.core.evaluation.test_item import TestItem, TestSet

__all__ = ["TestItem", "TestSet", "read_test_set"]


def read_test_set(path: str | Path, progress: Callable[[int, int], None] | None = None,
                  cancelled: Callable[[], bool] | None = None) -> TestSet:
    """Read JSONL, one JSON array, CSV or TSV of test rows.

    Args:
        path: the file.
        progress: called with (bytes read, bytes in all) about every MB.
        cancelled: asked about every MB; True ends the reading.

    Raises:
        UserError: nothing can be used.
        ReadingCancelled: `cancelled` said so.
    """
    raise NotImplementedError
