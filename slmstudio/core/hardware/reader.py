"""Looks at the whole machine, as often as it is asked: cards, processor, memory, disk, battery."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from slmstudio.core.hardware import rapl
from slmstudio.core.hardware.linux_sensors import ProcessorSensors, read_battery
from slmstudio.core.hardware.machine import disk_free
from slmstudio.core.hardware.nvml import GpuMonitor
from slmstudio.core.hardware.readings import Battery, CpuReading, MachineReading

SLOW_SECONDS = 5.0
"""Battery and disk are asked this often: a firmware may take its time, and neither changes faster."""


class MachineReader:
    """Reads what it can; what the machine doesn't say is None. For one thread.

    Args:
        monitors: of the cards to read; they are this reader's to close.
        folder: where the run lies, for `disk_free`.
    """

    def __init__(self, monitors: Sequence[GpuMonitor] = (), folder: Path | None = None):
        self.monitors = tuple(monitors)
        self._folder, self._processor = folder, ProcessorSensors()
        self._times = _busy_and_all()
        self._slow: tuple[int | None, Battery | None] = (None, None)
        self._next_slow = 0.0

    def read(self) -> MachineReading:
        """One look. Never raises: a card that went away is a reading with `lost`."""
        import psutil

        memory = psutil.virtual_memory()
        if (now := time.monotonic()) >= self._next_slow:
            self._next_slow = now + SLOW_SECONDS
            self._slow = self._disk_free(), read_battery()
        return MachineReading(tuple(monitor.read() for monitor in self.monitors), self._cpu(),
                              memory.total - memory.available, memory.total, *self._slow)

    def close(self) -> None:
        """Let the cards' driver go."""
        for monitor in self.monitors:
            monitor.close()

    def _cpu(self) -> CpuReading:
        before, self._times = self._times, _busy_and_all()
        busy, passed = (now - then for now, then in zip(self._times, before, strict=True))
        clock = self._processor.clock_mhz()
        return CpuReading(self._processor.temperature_c(), self._processor.limit_c,
                          round(min(100.0, 100 * busy / passed), 1) if passed > 0 else None,
                          None if clock is None else round(clock), *rapl.read())

    def _disk_free(self) -> int | None:
        try:
            return disk_free(self._folder) if self._folder else None
        except OSError:
            return None


def _busy_and_all() -> tuple[float, float]:
    """Seconds that the cores worked, and that passed for all of them, since the machine was started.

    psutil's own `cpu_percent` keeps what came before for each thread, so that a new thread begins with 0 %.
    """
    import psutil

    times = psutil.cpu_times()
    # Linux counts the guests' time within the user's (man 5 proc).
    passed = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    return passed - times.idle - getattr(times, "iowait", 0.0), passed
