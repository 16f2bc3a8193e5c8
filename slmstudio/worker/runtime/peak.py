"""The most memory that this process takes: on the GPU with its context, else of the machine's main memory."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import torch

# -- Keeps a long run's main memory near what its first steps took.

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


MOST_CONTEXT = 2 * 1024**3
"""No CUDA context is larger: what is more was taken by another program meanwhile."""


class PeakMemory:
    """Measures from `reset` on; where the system can't forget its own maximum (Windows, macOS), from the start.

    Args:
        gpu: of the current CUDA device, else of main memory.
        free_before: bytes that were free on the GPU before this process used it; None leaves the context out.
    """

    def __init__(self, gpu: bool, free_before: int | None = None):
        self._gpu, self._free_before = gpu, free_before

    def reset(self) -> None:
        if self._gpu:
            torch.cuda.reset_peak_memory_stats()
        else:
            with contextlib.suppress(OSError):  # "5" sets VmHWM to what is used now (man 5 proc, clear_refs)
                Path("/proc/self/clear_refs").write_text("5")

    def bytes(self) -> int:
        if self._gpu:
            return torch.cuda.max_memory_reserved() + self._context()
        return _main_memory_peak()

    def _context(self) -> int:
        """What CUDA itself and its libraries hold, beside PyTorch's own memory."""
        if self._free_before is None:
            return 0
        used = self._free_before - torch.cuda.mem_get_info()[0]
        return min(max(0, used - torch.cuda.memory_reserved()), MOST_CONTEXT)


def _main_memory_peak() -> int:
    if sys.platform == "linux":
        status = Path("/proc/self/status").read_text(errors="replace").splitlines()
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))
    if os.name == "nt":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
