"""Keeps the machine awake while it works, and cool: rests for the heat guard of work that isn't training.

Such work asks `must_rest` itself, or is `cooled`: then it rests wherever it asks whether the user has cancelled it.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from wakepy import keep

from slmstudio.core.hardware.heat_guard import GIVE_UP_SECONDS, Guard, Rest, Settings, Work
from slmstudio.core.hardware.nvml import open_all
from slmstudio.core.hardware.readings import MachineReader, MachineReading
from slmstudio.core.i18n import tr
from slmstudio.core.lock import worker_lock
from slmstudio.core.units import format_duration
from slmstudio.worker.runtime.context import JobContext

# -- Keeps the machine from sleeping while it trains or downloads, by wakepy; while paused it may sleep.


class Awake:
    """Asks the system to stay awake between `on` and `off`. Where it can't, that is said once, and nothing fails."""

    def __init__(self, job: JobContext):
        self._job = job
        self._warden = worker_lock.warden()
        self._mode: Any = None
        self._told = False

    def on(self) -> None:
        if self._mode is not None:
            return
        if self._warden is not None:
            self._mode = self._warden
            return self._report(self._warden.keep_awake())
        self._mode = keep.running(on_fail="pass")
        self._mode.__enter__()
        self._report(bool(self._mode.active))

    def off(self) -> None:
        if self._mode is not None and self._warden is not None:
            self._warden.let_sleep()
        elif self._mode is not None:
            self._mode.__exit__(None, None, None)
        self._mode = None

    def _report(self, works: bool) -> None:
        if self._told:
            return
        self._told = True
        reason = "" if works else tr("This system has no way to prevent sleep. Turn sleep off in the power settings.")
        self._job.emit("sleep_prevented", on=works, reason=reason)


PERIOD_SECONDS = 1.0
STALE_SECONDS = 10.0
"""An older reading says nothing of now: a driver hangs."""
SETTINGS = Settings()
"""The default limits."""


class Cooling:
    """Reads the machine once a second in a thread, which may hang in a driver, and says when to rest.

    Args:
        work: what rests.
        settings: None are the default limits.
        on_cpu: whether the processor does the work, so that no card counts.
    """

    def __init__(self, job: JobContext, work: Work, settings: Settings | None = None, on_cpu: bool = False):
        self._job = job
        monitors = [] if on_cpu else open_all()[0]
        self._reader = MachineReader(monitors)
        self._guard = Guard(settings or SETTINGS, on_cpu=not monitors, work=work)
        self._newest: tuple[float, MachineReading] | None = None
        self._resting: tuple[Rest, float] | None = None
        self._in_vain = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._read, name="cooling", daemon=True)
        self._thread.start()

    def must_rest(self) -> bool:
        """Whether work must wait now. Ask between two pieces of it, and again while it waits."""
        now = time.monotonic()
        reading = self._newest[1] if self._newest is not None and now - self._newest[0] < STALE_SECONDS else None
        rest = None if self._in_vain else self._guard.look(now, reading, datetime.now())
        if rest is not None and self._is_in_vain(now):
            self._in_vain, rest = True, None
        if rest is not None and self._resting is None:
            self._resting = rest, now
            self._job.emit("guard_rest", why=rest.why, message=rest.message)
        elif rest is None and self._resting is not None:
            (rest_, began), self._resting = self._resting, None
            self._job.emit("guard_resume", why=rest_.why, seconds=round(now - began, 1),
                           message=tr("The rest is over after {time}.", time=format_duration(now - began)))
        return self._resting is not None

    def _is_in_vain(self, now: float) -> bool:
        """Whether rests don't help, as where a sensor is broken: nobody can turn this guard off."""
        heat = self._guard.heat
        if heat is None or self._resting is None or now - self._resting[1] < GIVE_UP_SECONDS:
            return False
        self._job.warn("heat_limit_low", tr(
            "{name} is still at {degrees:.0f} °C after a rest of {time}. The work continues without rests; check the "
            "fans.", name=heat.name, degrees=heat.temperature_c, time=format_duration(now - self._resting[1])))
        return True

    def close(self) -> None:
        self._closing.set()
        self._thread.join(timeout=5)
        if not self._thread.is_alive():  # else it hangs in the driver, and closing that would hang too
            self._reader.close()

    def _read(self) -> None:
        while True:
            with contextlib.suppress(Exception):  # whatever went wrong in a library: without a reading nothing rests
                self._newest = time.monotonic(), self._reader.read()
            if self._closing.wait(PERIOD_SECONDS):
                return


@contextlib.contextmanager
def cooled(job: JobContext, work: Work, settings: Settings | None = None, on_cpu: bool = False) -> Iterator[None]:
    """While this lasts, `job.check_cancelled` rests where the machine must cool. Arguments as of `Cooling`."""
    cooling, before = Cooling(job, work, settings, on_cpu), job.must_rest
    job.must_rest = cooling.must_rest
    try:
        yield
    finally:
        job.must_rest = before
        cooling.close()
