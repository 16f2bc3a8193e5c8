"""Waiting for what no signal tells of: another process, a file, a thread."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_SECONDS = 90.0
"""Long enough for a machine that is busy with other things."""


def until(ready: Callable[[], object], waited_for: str = "", ended: Callable[[], object] = lambda: False) -> None:
    """Look again and again until `ready()`; fails where that takes too long.

    Args:
        waited_for: said where it fails.
        ended: true as soon as it can't come any more, which fails at once.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not ready():
        assert not ended(), f"it came to its end before: {waited_for}"
        assert time.monotonic() < deadline, f"not within {PATIENCE_SECONDS:g} s: {waited_for}"
        time.sleep(0.005)
