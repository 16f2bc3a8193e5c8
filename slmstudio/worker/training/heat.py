"""Rests for the heat guard, between two pieces of work: what the guard decides is done here, and reported as events.

The guard's rest and a user's Pause are two things: while a run is paused, nothing rests. A run that waits for its
hours stays awake, since nothing would wake the machine when they begin; one that waits to be plugged in lets it sleep.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from slmstudio.core.errors import UserError
from slmstudio.core.hardware import heat_limits
from slmstudio.core.hardware.heat_guard import GIVE_UP_SECONDS, UNREAD_SECONDS, Guard, Rest
from slmstudio.core.hardware.heat_limits import Hours
from slmstudio.core.hardware.readings import MachineReading
from slmstudio.core.i18n import join_sentences, noop, tr
from slmstudio.core.run import adjust
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.guard_summary import GUARD_FIELDS, HOLD, settings_of, told
from slmstudio.core.units import format_duration
from slmstudio.worker.runtime.context import Cancelled, JobContext
from slmstudio.worker.runtime.cooling import Awake
from slmstudio.worker.runtime.sensors import Sensors

# -- Tells what the heat costs a run: how much it is held back, and when a lower power limit would help.

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
        if self._told or gpu is None or not heat_limits.is_worth_it(self._pauses, self._slowed):
            return
        self._told = True
        if (found := heat_limits.suggest_now(gpu)) is not None:
            self._job.emit("power_limit_advised", gpu=found.index, watts=found.watts, now_w=found.now_w,
                           command=found.command, message=found.message)


POLL_SECONDS = 0.1
LONG = ("battery", "hours")
"""Causes of rests that may last for hours: everything is saved before."""
FIRST_READING_SECONDS = 3.0
NO_READING_SECONDS = 10.0
"""If no temperature was read for this long after the start, none will be."""
NO_TEMPERATURE = noop("This machine doesn't report its temperature, so the heat guard can't protect it. Keep an eye "
                      "on it yourself.")


def local_time() -> datetime:
    """What a clock on the wall shows."""
    return datetime.now()


class HeatPauses:
    """Asked after each step, and between the batches of an evaluation.

    Args:
        on_cpu: whether the processor does the work.

    Attributes:
        awake: keeps the machine awake while it works.
        seconds: rested so far, in total; `held` of them to hold a temperature.
    """

    def __init__(self, job: JobContext, config: RunConfig, sensors: Sensors, on_cpu: bool):
        self._job, self._config, self._sensors = job, config, sensors
        self._guard = Guard(settings_of(config), on_cpu)
        sensors.warns = config.heat_guard == "off"
        self.awake = Awake(job)
        self.seconds = self.held = 0.0
        self._holding, self._cost = Holding(job), HeatCost(job)
        self._open: tuple[Rest, float] | None = None
        self._hold_until = 0.0
        self._working_since = self._began = time.monotonic()
        self._heat_known = self._blind = self._too_low = False

    @property
    def hours(self) -> Hours | None:
        """The hours in which to work; None means always."""
        return self._guard.settings.hours

    def work_begins(self) -> None:
        """A step begins now, whatever was done since the last one."""
        self._working_since = time.monotonic()

    def piece_done(self, step: int) -> None:
        """A step, or a batch of an evaluation, is done: find out how long to rest after it to hold a temperature."""
        now = time.monotonic()
        self._look(now)
        worked, self._working_since = now - self._working_since, now
        rest = self._guard.rest_after_step(worked)
        self._hold_until = now + rest
        self.held += rest
        self._holding.add(step, now, worked, rest, self._guard)
        self._cost.look(now, None if self._guard.on_cpu else self._sensors.newest)
        if not (self._blind or self._heat_known) and self._guard.settings.mode != "off" and \
                now - self._began > NO_READING_SECONDS:
            self._blind = True
            self._job.emit("guard_unavailable", message=tr(NO_TEMPERATURE))

    def wait(self, step: int, save: Callable[[bool], None] | None = None) -> float:
        """Seconds to rest before asking again; 0 if work may continue.

        Args:
            save: called before a pause begins, with whether it may be a long one. None: no long pause may begin here.
        """
        now = time.monotonic()
        rest = self._look(now)
        if rest is not None and not (save is None and rest.why in LONG):
            if self._open is None or self._open[0].why != rest.why:
                self.end(step)
                if save is not None:
                    save(rest.why in LONG)
                self._begin(rest, step)
            self._report_too_low(rest, now)
            self._sensors.step_made()  # it makes no progress because it rests, not because its card hangs
            return POLL_SECONDS
        self._end_pause(step)
        if now < self._hold_until:
            return min(POLL_SECONDS, self._hold_until - now)
        self._working_since = now
        return 0.0

    def rest(self, seconds: float) -> None:
        """Rest as long as `wait` said."""
        began = time.monotonic()
        time.sleep(seconds)
        self.seconds += time.monotonic() - began

    def between_batches(self, step: int, agree: Callable[[float], float]) -> None:
        """Rest during an evaluation, unless a command is waiting, which is obeyed after the evaluation.

        Args:
            agree: from the seconds that this rank would rest to those that all of them do.
        """
        self.piece_done(step)
        self._sensors.step_made()
        while seconds := agree(0.0 if self._job.waiting() else self.wait(step)):
            self.rest(seconds)
        if self._job.waiting():
            self.end(step)

    def wait_to_begin(self, step: int) -> bool:
        """Rest before anything is loaded, if the hours haven't begun or the machine isn't plugged in.

        Returns:
            Whether to begin: False if the user asked to free the memory.

        Raises:
            Cancelled: the user asked to stop.
        """
        while self._guard.settings.pause_on_battery and self._sensors.newest is None and \
                time.monotonic() - self._began < FIRST_READING_SECONDS:
            time.sleep(POLL_SECONDS)
        if not self.wait(step, _nothing_to_save):
            return True
        self._job.phase("waiting")
        paused = False
        while True:
            if self._job.cancelled():
                self.end(step)
                raise Cancelled
            for command in self._job.commands():
                name = command.get("command")
                if name == "free":
                    self.end(step)
                    return False
                if name == "guard":
                    self.change(command, step)
                elif name in ("pause", "resume") and paused != (name == "pause"):
                    paused = name == "pause"
                    self.end(step)
                    if paused:
                        self.awake.off()
                    self._job.emit("paused" if paused else "resumed", global_step=step)
                elif name == "change":
                    self._job.warn("change_refused", join_sentences(
                        tr("The change wasn't made."), tr("You can change it once the run has started.")))
            if paused:
                time.sleep(POLL_SECONDS)
            elif seconds := self.wait(step, _nothing_to_save):
                self.rest(seconds)
            else:
                return True

    def change(self, command: dict[str, Any], step: int) -> None:
        """Other settings, kept for every later start of the run."""
        asked = {name: command[name] for name in GUARD_FIELDS if name in command}
        try:
            adjust.consent(self._job.folder, asked)
        except (UserError, OSError) as error:
            self._job.warn("guard_refused", join_sentences(tr("The heat guard wasn't changed."), str(error)))
            return
        self._config = adjust.apply(self._config, self._job.folder)
        self.end(step)
        self._guard.change(settings_of(self._config))
        self._sensors.warns = self._config.heat_guard == "off"
        self._too_low, self._began = False, time.monotonic()
        values = {name: getattr(self._config, name) for name in asked}
        self._job.emit("guard_changed", global_step=step, values=values,
                       message=tr("Heat guard changed: {values}.", values=", ".join(told(values))))

    def end(self, step: int) -> None:
        """Nothing rests from now on until it is asked again."""
        self._end_pause(step)
        unrested, self._hold_until = max(0.0, self._hold_until - time.monotonic()), 0.0
        self.held -= unrested
        self._holding.end(step, self._guard, unrested)

    # -- what it does -------------------------------------------------------------------------

    def _look(self, now: float) -> Rest | None:
        rest = self._guard.look(now, self._sensors.newest, local_time())
        self._heat_known = self._heat_known or self._guard.heat is not None
        return rest

    def _begin(self, rest: Rest, step: int) -> None:
        self._open = rest, time.monotonic()
        self.awake.off() if rest.why == "battery" else self.awake.on()
        heat = rest.heat
        self._job.emit("guard_rest", global_step=step, why=rest.why, temperature_c=heat and heat.temperature_c,
                       limit_c=heat and heat.limit_c, gpu=heat and heat.index, message=rest.message)
        if heat is not None:
            self._cost.paused(self._sensors.newest, heat.index)

    def _end_pause(self, step: int) -> None:
        if self._open is None:
            return
        (rest, began), self._open = self._open, None
        if rest.why == "battery":
            self.awake.on()
        self._report_gave_up(rest)
        seconds, heat = time.monotonic() - began, self._guard.heat
        degrees = "" if heat is None else tr("{name} is at {degrees:.0f} °C.", name=heat.name,
                                             degrees=heat.temperature_c)
        self._job.emit("guard_resume", global_step=step, why=rest.why, seconds=round(seconds, 1),
                       temperature_c=heat and heat.temperature_c,
                       message=join_sentences(
                           tr("The rest is over after {time}.", time=format_duration(seconds)), degrees))

    def _report_gave_up(self, rest: Rest) -> None:
        if self._guard.gave_up:
            unread = format_duration(UNREAD_SECONDS)
            self._job.warn("guard_unread", tr(
                "The machine hasn't reported for {time} whether it's plugged in. Training continues; keep an eye on "
                "the machine.", time=unread) if rest.why == "battery" else tr(
                "The machine hasn't reported its temperature for {time}. Training continues; keep an eye on the "
                "machine.", time=unread))

    def _report_too_low(self, rest: Rest, now: float) -> None:
        """If the machine is above the limit even at rest, it would rest forever."""
        heat = self._guard.heat
        if self._too_low or rest.heat is None or heat is None or self._open is None or \
                now - self._open[1] < GIVE_UP_SECONDS:
            return
        self._too_low = True
        self._job.warn("heat_limit_low",
                       tr("{name} is still at {degrees:.0f} °C after a rest of {time}. Check its fans, or choose a "
                          "limit above the present {limit:.0f} °C: training can't continue until it's cooler than "
                          "that.",
                          name=heat.name, degrees=heat.temperature_c, time=format_duration(now - self._open[1]),
                          limit=heat.limit_c))


def _nothing_to_save(long: bool) -> None:
    """Nothing is loaded yet."""
