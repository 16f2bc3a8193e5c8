"""Rests for the heat guard of work that isn't training: by the default limits, whenever such work asks."""

from __future__ import annotations

import contextlib
import threading
import time
from datetime import datetime

from slmstudio.core.hardware.heat.guard import Guard, Rest, Settings
from slmstudio.core.hardware.nvml import open_all
from slmstudio.core.hardware.reader import MachineReader
from slmstudio.core.hardware.readings import MachineReading
from slmstudio.core.i18n import tr
from slmstudio.core.units import format_duration
from slmstudio.worker.runtime.context import JobContext

PERIOD_SECONDS = 1.0
STALE_SECONDS = 10.0
"""An older reading says nothing of now: a driver hangs."""
SETTINGS = Settings()


class Cooling:
    """Reads the machine once a second in a thread, which may hang in a driver, and says when to rest.

    Args:
        work: what rests, as of `Guard`: "evaluation".
    """

    def __init__(self, job: JobContext, work: str):
        self._job = job
        monitors, _ = open_all()
        self._reader = MachineReader(monitors)
        self._guard = Guard(SETTINGS, on_cpu=not monitors, work=work)
        self._newest: tuple[float, MachineReading] | None = None
        self._resting: tuple[Rest, float] | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._read, name="cooling", daemon=True)
        self._thread.start()

    def must_rest(self) -> bool:
        """Whether work must wait now. Ask between two pieces of it, and again while it waits."""
        now = time.monotonic()
        reading = self._newest[1] if self._newest is not None and now - self._newest[0] < STALE_SECONDS else None
        rest = self._guard.look(now, reading, datetime.now())
        if rest is not None and self._resting is None:
            self._resting = rest, now
            self._job.emit("guard_rest", why=rest.why, message=rest.message)
        elif rest is None and self._resting is not None:
            (rest_, began), self._resting = self._resting, None
            self._job.emit("guard_resume", why=rest_.why, seconds=round(now - began, 1),
                           message=tr("The rest is over after {time}.", time=format_duration(now - began)))
        return self._resting is not None

    def close(self) -> None:
        self._closing.set()
        self._thread.join(timeout=5)
        if not self._thread.is_alive():  # else it hangs in the driver, and closing that would hang too
            self._reader.close()

    def _read(self) -> None:
        while True:
            with contextlib.suppress(Exception):  # whatever a library fails at: without a reading nothing rests
                self._newest = time.monotonic(), self._reader.read()
            if self._closing.wait(PERIOD_SECONDS):
                return
