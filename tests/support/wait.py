"""Waiting for what no signal tells of: another process, a file, a thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from slmstudio.core.jobs.job import Job

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


def event(job: Job, kind: str, wanted: Callable[[dict[str, Any]], bool] = lambda event: True, **values: object
          ) -> dict[str, Any]:
    """The first event of that kind with these values; fails where the job ends without it, or that takes too long."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    for found in job.follow():
        if found["type"] == kind and wanted(found) and values.items() <= found.items():
            return found
        assert time.monotonic() < deadline, f"no {kind} within {PATIENCE_SECONDS:g} s"
    raise AssertionError(f"no {kind}: {job.outcome()}\n{job.log_tail()}")
