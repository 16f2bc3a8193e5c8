"""Notices when Windows moves GPU memory into main memory: nothing fails, and each step takes many times as long.

The driver for Windows (and so WSL2) may put what doesn't fit into shared memory ("sysmem fallback"). It can't be
measured directly, but two signs together show it: the GPU's own memory is full, and steps got much slower.
"""

from __future__ import annotations

import os
import statistics
from pathlib import Path

from slmstudio.core.i18n import tr

FULL_SHARE = 0.97
"""The share of the GPU's own memory from which the driver spills."""
JUMP = 2.5
"""Times the usual duration of a step. Rows of other lengths change it by less, over this many steps."""
STEPS = 5
USUAL_STEPS = 20


def can_spill() -> bool:
    """Whether this system's driver moves GPU memory instead of refusing it: Windows and WSL2."""
    if os.name == "nt":
        return True
    try:
        return "microsoft" in Path("/proc/sys/kernel/osrelease").read_text().lower()
    except OSError:
        return False


class SpillWatch:
    """Takes the duration of each step and the memory readings; speaks once."""

    def __init__(self) -> None:
        self._seconds_per_token: list[float] = []
        self._told = False

    def update(self, seconds: float, tokens: int, memory_used: int | None, memory_total: int | None) -> str | None:
        """
        Args:
            seconds: duration of a step.
            tokens: it learned from; longer rows take longer by themselves.
            memory_used, memory_total: of the GPU, in bytes; None when they aren't measured.

        Returns:
            A sentence when memory spills, once; otherwise None.
        """
        if tokens <= 0:
            return None
        self._seconds_per_token.append(seconds / tokens)
        recent, before = self._seconds_per_token[-STEPS:], self._seconds_per_token[:-STEPS][:USUAL_STEPS]
        if self._told or len(before) < STEPS or memory_used is None or not memory_total:
            return None
        factor = statistics.median(recent) / statistics.median(before)
        if memory_used < FULL_SHARE * memory_total or factor < JUMP:
            return None
        self._told = True
        return tr("The GPU's memory is full and steps take {factor:.1f} times as long as before: the driver is moving "
                  "data to main memory. Halve the micro-batch size, or close other programs that use the GPU.",
                  factor=factor)
