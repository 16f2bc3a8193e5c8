"""The most memory that this process takes: on the GPU with its context, else of the machine's main memory."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

import psutil
import torch

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
