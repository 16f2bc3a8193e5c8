"""Tells what the heat costs a run: how much it is held back, and when a lower power limit would help."""

from __future__ import annotations

import time

from slmstudio.core.hardware.heat import power_limit
from slmstudio.core.hardware.heat.guard import Guard
from slmstudio.core.hardware.readings import MachineReading
from slmstudio.core.i18n import tr
from slmstudio.core.run.guard.summary import HOLD
from slmstudio.worker.runtime.context import JobContext

TELL_SECONDS = 60.0
"""How often the share of rest is told while a temperature is held; after this long without a rest, holding ends."""
LONGEST_LOOK = 60.0
"""A card isn't taken to be slowed down for longer than this without having been looked at."""


class Holding:
    """Rests between steps, as events: when they begin, about once a minute how much they are, and when they end."""

    def __init__(self, job: JobContext):
        self._job = job
        self._on = False
        self._worked = self._rested = self._tell_at = 0.0

    def add(self, step: int, now: float, worked: float, rest: float, guard: Guard) -> None:
        """This many seconds were worked, and this many are rested now."""
        if rest and not self._on:
            self._on, self._worked, self._rested, self._tell_at = True, 0.0, 0.0, now + TELL_SECONDS
            self._emit("guard_rest", step, guard, why=HOLD, message=tr(
                "Holding {degrees:.0f} °C: training rests a little after each step.", degrees=guard.held_c))
        self._worked, self._rested = self._worked + worked, self._rested + rest
        if not self._on or now < self._tell_at:
            return
        if not self._rested:
            return self.end(step, guard)
        working = self._worked / (self._worked + self._rested)
        self._emit("guard_hold", step, guard, seconds=round(self._rested, 1), working=round(working, 3),
                   message=tr("Holding {degrees:.0f} °C: working {share:.0%} of the time.", degrees=guard.held_c,
                              share=working))
        self._worked, self._rested, self._tell_at = 0.0, 0.0, now + TELL_SECONDS

    def end(self, step: int, guard: Guard, unrested: float = 0.0) -> None:
        """No more rests between steps, if there were any; of the last one, this many seconds were left."""
        if self._on:
            self._on = False
            self._emit("guard_resume", step, guard, why=HOLD, seconds=round(max(0.0, self._rested - unrested), 1),
                       message=tr("Training no longer rests between steps."))

    def _emit(self, kind: str, step: int, guard: Guard, **more: object) -> None:
        heat = guard.heat
        self._job.emit(kind, global_step=step, **more, temperature_c=heat and heat.temperature_c,
                       limit_c=guard.held_c, gpu=heat and heat.index)


class HeatCost:
    """Suggests a lower power limit, once, when heat costs a card much time."""

    def __init__(self, job: JobContext):
        self._job = job
        self._pauses = 0
        self._slowed = 0.0
        self._looked = time.monotonic()
        self._told = False

    def look(self, now: float, reading: MachineReading | None) -> None:
        passed, self._looked = min(LONGEST_LOOK, now - self._looked), now
        slowed = next((gpu for gpu in reading.gpus if "heat" in (gpu.slowed_by or ())), None) if reading else None
        if slowed is not None:
            self._slowed += passed
            self._suggest(reading, slowed.index)

    def paused(self, reading: MachineReading | None, index: int | None) -> None:
        """A pause for heat begins; `index` is the card's, None for the processor."""
        self._pauses += index is not None
        self._suggest(reading, index)

    def _suggest(self, reading: MachineReading | None, index: int | None) -> None:
        gpu = next((gpu for gpu in reading.gpus if gpu.index == index), None) if reading else None
        if self._told or gpu is None or not power_limit.is_worth_it(self._pauses, self._slowed):
            return
        self._told = True
        if (found := power_limit.suggest_now(gpu)) is not None:
            self._job.emit("power_limit_advised", gpu=found.index, watts=found.watts, now_w=found.now_w,
                           command=found.command, message=found.message)
