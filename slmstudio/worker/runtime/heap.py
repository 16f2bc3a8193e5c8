"""Keeps a long run's main memory near what its first steps took.

The C library reuses what a step frees, but rows of other lengths leave holes that fit nothing. Between two steps, whole
pages of them can be given back; that costs the next step the time to ask for them again, so it is done only when the
process has grown. What grows most, compiled products, is limited in core/jobs/processes.py.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable

import psutil

SPARE = 0.03
"""By this share a process may grow before holes are given back."""


class Heap:
    """
    Attributes:
        given_back: how many times it was done.
    """

    def __init__(self) -> None:
        self.given_back = 0
        self._trim = _malloc_trim()
        self._most: float | None = None

    def stay_within(self, peak_bytes: int) -> None:
        """From now on, the process isn't to take more than this for long."""
        self._most = peak_bytes * (1 + SPARE)

    def between_steps(self) -> None:
        if self._trim is not None and self._most is not None and psutil.Process().memory_info().rss > self._most:
            self._trim()
            self.given_back += 1


def _malloc_trim() -> Callable[[], object] | None:
    """glibc's function (malloc_trim(3)); other C libraries have none."""
    if sys.platform != "linux":
        return None
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return None if trim is None else lambda: trim(ctypes.c_size_t(0))
