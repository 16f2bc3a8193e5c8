"""Samples the GPU and this process once a second, on the run's own time axis, and notices when the machine slept."""

from __future__ import annotations

import threading
import time
from typing import Any

import psutil

from slmstudio.core.hardware.guard import HeatWatch
from slmstudio.core.hardware.nvml import GpuMonitor
from slmstudio.worker.runtime.context import JobContext

PERIOD_SECONDS = 1.0
SLEPT_SECONDS = 6.0
"""A gap of this many seconds between two samples is no delay: the machine slept, or the process was stopped."""


def clock() -> float:
    """Seconds that also pass while the machine sleeps; Linux' monotonic clock stands still then."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return time.clock_gettime(boottime) if boottime is not None else time.monotonic()


class Sensors:
    """A thread that emits `sensors` events until it is closed; without a GPU it says so once.

    Attributes:
        suspended_seconds: how long the machine slept or the process was stopped, all in all.
        newest: the last reading of the GPU; None without one.
    """

    def __init__(self, job: JobContext):
        self._job = job
        self.suspended_seconds = 0.0
        self.newest: dict[str, Any] | None = None
        self._closing = threading.Event()
        self._process = psutil.Process()
        self._watch = HeatWatch()
        self._monitor, reason = GpuMonitor.open()
        if self._monitor is None:
            job.emit("sensors_unavailable", reason=reason)
        self._thread = threading.Thread(target=self._run, name="sensors", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        before, reading_gpu = clock(), True
        while not self._closing.wait(PERIOD_SECONDS):
            now = clock()
            self._notice_sleep(now - before - PERIOD_SECONDS)
            before = now
            reading_gpu = self._sample(reading_gpu)

    def _notice_sleep(self, gap: float) -> None:
        if gap >= SLEPT_SECONDS:
            self.suspended_seconds += gap
            self._job.emit("suspended", seconds=round(gap, 1))

    def _sample(self, with_gpu: bool) -> bool:
        """Emit one reading; False when the GPU is lost."""
        reading = self._monitor.read() if self._monitor and with_gpu else None
        self.newest = reading.to_dict() if reading else None
        self._job.emit("sensors", gpu=self.newest, process_memory=self._process.memory_info().rss,
                       cpu_percent=self._process.cpu_percent())
        if reading is None:
            return with_gpu
        if reading.lost:
            self._job.emit("sensors_unavailable", reason=reading.message)
            self._job.warn("gpu_lost", reading.message)
            return False
        if self._watch.update(reading.temperature_c, reading.slowdown_c) == "warn":
            self._job.warn("gpu_hot", self._watch.sentence(reading.temperature_c))
        return True

    def close(self) -> None:
        self._closing.set()
        self._thread.join(timeout=5)
        if self._monitor:
            self._monitor.close()
