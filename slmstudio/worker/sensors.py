"""Samples the GPU and this process once a second, on the run's own time axis."""

from __future__ import annotations

import threading

import psutil

from slmstudio.core.hardware.guard import HeatWatch
from slmstudio.core.hardware.nvml import GpuMonitor
from slmstudio.worker.context import JobContext

PERIOD_SECONDS = 1.0


class Sensors:
    """A thread that emits `sensors` events until it is closed; without a GPU it says so once."""

    def __init__(self, job: JobContext):
        self._job = job
        self._closing = threading.Event()
        self._process = psutil.Process()
        self._monitor, reason = GpuMonitor.open()
        if self._monitor is None:
            job.emit("sensors_unavailable", reason=reason)
        self._thread = threading.Thread(target=self._sample, name="sensors", daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        watch = HeatWatch()
        while not self._closing.wait(PERIOD_SECONDS):
            reading = self._monitor.read() if self._monitor else None
            self._job.emit(
                "sensors",
                gpu=reading.to_dict() if reading else None,
                process_memory=self._process.memory_info().rss,
                cpu_percent=self._process.cpu_percent(),
            )
            if reading is None:
                continue
            if reading.lost:
                self._job.emit("sensors_unavailable", reason=reading.message)
                self._job.warn("gpu_lost", reading.message)
                return
            if watch.update(reading.temperature_c, reading.slowdown_c) == "warn":
                self._job.warn("gpu_hot", watch.sentence(reading.temperature_c))

    def close(self) -> None:
        self._closing.set()
        self._thread.join(timeout=5)
        if self._monitor:
            self._monitor.close()
