"""Decides when work must rest, and for how long. It has no clock: each call is given the time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from slmstudio.core.hardware.heat_limits import HELD_BELOW_C, Heat, Hours, hottest
from slmstudio.core.hardware.readings import MachineReading
from slmstudio.core.i18n import join_sentences, noop, tr
from slmstudio.core.units import format_duration

# -- Finds the share of rest between steps that holds a temperature.

GAIN = 0.04
"""Share of rest a degree above the target, at once."""
INTEGRAL_SECONDS = 60.0
"""The same share again, each time it has stayed there for this many seconds."""
BRAKE_C, BRAKE_GAIN = 2.0, 0.1
"""From this many degrees above the target on, this much more per degree: it gets there fast the first time."""
AFTER_PAUSE, KEPT_SECONDS = 0.15, 300.0
"""A pause adds that share of rest; for this long at most, below the target, it isn't taken back."""
SLOW_CYCLE_SECONDS = 7.0
"""Steps with their rests that take longer than this are answered more softly: fewer looks, and each weighs more."""
MOST = 0.9
"""The greatest share of rest."""
LONGEST_SECONDS = 60.0
"""The longest rest after one step."""


class DutyCycle:
    """A PI controller with anti-windup: the error is the temperature above the target, the output a share of rest.

    The gains were found on simulated cards (tests/support/simulated_card.py): time constants from 20 s to 5 min, 25 to
    80 °C between idle and full load, steps from 0.2 to 20 s, a sensor that is up to 2 s late and says whole degrees.

    Attributes:
        share: of the time that is rested, 0 to `MOST`.
    """

    def __init__(self) -> None:
        self.share = self._integral = self._kept_seconds = 0.0

    def update(self, above_c: float, seconds: float) -> float:
        """A step is done.

        Args:
            above_c: how far the temperature is above the target, at its highest since the last call.
            seconds: that the last rest and the step took together.

        Returns:
            `share`.
        """
        softer = 1 + seconds / SLOW_CYCLE_SECONDS
        wanted = GAIN / softer * above_c
        brake = BRAKE_GAIN / softer * max(0.0, above_c - BRAKE_C)
        self._kept_seconds = self._kept_seconds - seconds if above_c < 0 else 0.0
        now = wanted + self._integral
        wound_up = now > MOST if above_c > 0 else now < 0 or self._kept_seconds > 0
        if not wound_up:
            self._integral = min(MOST, max(0.0, self._integral + wanted * seconds / INTEGRAL_SECONDS))
        self.share = min(MOST, max(0.0, wanted + brake + self._integral))
        return self.share

    def paused(self) -> None:
        """It got so hot that work had to pause: too little was rested. While it warms up again, nothing is unlearnt."""
        self._integral = min(MOST, self._integral + AFTER_PAUSE)
        self._kept_seconds = KEPT_SECONDS

    def rest_after(self, step_seconds: float) -> float:
        """Seconds of rest after a step of that length, so that `share` of both together is rest."""
        return min(LONGEST_SECONDS, self.share / (1 - self.share) * step_seconds)


Why = Literal["heat", "memory_heat", "battery", "hours"]
Work = Literal["training", "evaluation", "export", "proof", "fit_check", "documents"]
HOT_SECONDS = 3.0
"""A limit must be passed for this long: a single reading may be noise."""
STILL_HOT_C = 1
"""A reading that swings this far below the limit doesn't begin those seconds again."""
COOLED_C = 10
"""Work resumes this many degrees below the limit."""
GIVE_UP_SECONDS = 600.0
"""After this long, being below the limit is enough: in a hot room the machine gets no cooler."""
UNREAD_SECONDS = 600.0
"""A rest whose cause can't be read any more lasts this much longer: sensors are silent after a wake, or hang."""
LEAST_SHARE = 0.01
"""A smaller share of rest isn't worth one."""
UNTIL_COOL: dict[Work, str] = {
    "training": noop("Training rests until it has cooled to {degrees:.0f} °C, for at least {duration}."),
    "documents": noop("Writing questions rests until it has cooled to {degrees:.0f} °C, for at least {duration}."),
    "evaluation": noop("The evaluation rests until it has cooled to {degrees:.0f} °C, for at least {duration}."),
    "export": noop("The export rests until it has cooled to {degrees:.0f} °C, for at least {duration}."),
    "proof": noop("The proof rests until it has cooled to {degrees:.0f} °C, for at least {duration}."),
    "fit_check": noop("The fit check rests until it has cooled to {degrees:.0f} °C, for at least {duration}."),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """What a user wants.

    Attributes:
        mode: "pause" rests when it is too hot, "hold" between steps so that it doesn't get too hot, "off" never.
        limit_c: where pauses begin, or what is held; None takes the part's own limit less a margin.
        rest_seconds: the shortest pause for heat, and the shortest time from the start of one to that of the next.
        pause_on_battery: whether to work on the mains only.
        hours: the hours in which to work; None is always.
    """

    mode: Literal["pause", "hold", "off"] = "pause"
    limit_c: float | None = None
    rest_seconds: float = 60.0
    pause_on_battery: bool = False
    hours: Hours | None = None


@dataclass(frozen=True, slots=True)
class Rest:
    """A pause that is due.

    Attributes:
        heat: what was too hot; None for other reasons.
    """

    why: Why
    message: str
    heat: Heat | None = None


class Guard:
    """Asked between two pieces of work, and again and again while it rests.

    Args:
        on_cpu: whether the processor does the work, so that its temperature counts instead of that of the cards.
        work: what rests.

    Attributes:
        settings: may be replaced at any time.
        heat: the hottest part at the last look, or None while nothing reports a temperature.
        gave_up: a rest ended at the last look because its cause couldn't be read for `UNREAD_SECONDS`.
    """

    def __init__(self, settings: Settings, on_cpu: bool = False, work: Work = "training"):
        self.settings, self.on_cpu, self._work = settings, on_cpu, work
        self.heat: Heat | None = None
        self.gave_up = False
        self._rest: Rest | None = None
        self._since = 0.0
        self._unread_since: float | None = None
        self._hot_since: float | None = None
        self._looked: float | None = None
        self._duty = DutyCycle()
        self._highest: float | None = None  # above the held temperature, since the last step
        self._held_back = 0.0

    def look(self, now: float, reading: MachineReading | None, moment: datetime) -> Rest | None:
        """What to do now: rest, or work (None).

        Args:
            now: seconds on any clock that never goes back.
            reading: the newest one; without any, no rest for heat or battery begins, and an open one lasts.
            moment: the local time, for the hours.
        """
        self.heat = self._hottest(reading)
        due = self._due(now, reading, moment)
        self._looked = now
        unread = self._unread(reading)
        if not unread:
            self._unread_since = None
        elif self._unread_since is None:
            self._unread_since = now
        if due is None and self._rest is not None and (
                (self._unread_since is not None and now - self._unread_since < UNREAD_SECONDS) or
                (self._rest.heat is not None and now - self._since < self.settings.rest_seconds)):
            return self._rest
        self.gave_up = due is None and unread
        if (due and due.why) != (self._rest and self._rest.why):
            self._since = now if self._rest is None else self._since
            if due is not None and due.heat is not None:
                self._duty.paused()
            self._rest, self._hot_since, self._highest = due, None, None
        return self._rest

    def rest_after_step(self, step_seconds: float) -> float:
        """Seconds to rest in the mode "hold", after a step that took this long. Call it once a step, after `look`."""
        if self.settings.mode != "hold" or self._highest is None:
            return 0.0
        self._duty.update(self._highest, self._held_back + step_seconds)
        self._highest = None
        self._held_back = self._duty.rest_after(step_seconds) if self._duty.share >= LEAST_SHARE else 0.0
        return self._held_back

    @property
    def held_c(self) -> float | None:
        """The temperature that the mode "hold" holds; None while nothing is known about it."""
        return None if self.heat is None else self.heat.limit_c - HELD_BELOW_C

    def change(self, settings: Settings) -> None:
        """What a user wants from now on. A pause that it no longer asks for ends at the next look."""
        self.settings = settings
        self._rest = self._hot_since = self._highest = None
        self._duty, self._held_back = DutyCycle(), 0.0

    def _unread(self, reading: MachineReading | None) -> bool:
        """Whether the cause of the open rest isn't told any more."""
        if self._rest is None or self._rest.why == "hours":
            return False
        if self._rest.why == "battery":
            return reading is None or reading.battery is None or reading.battery.plugged is None
        cause = self._rest.heat
        return self.heat is None or (cause is not None and (self.heat.index is None) != (cause.index is None))

    def _hottest(self, reading: MachineReading | None) -> Heat | None:
        if reading is None or self.settings.mode == "off":
            return None
        heat = hottest(reading, self.settings.limit_c, self.settings.mode == "hold", self.on_cpu)
        if heat is not None:
            above = HELD_BELOW_C - heat.room
            self._highest = above if self._highest is None else max(self._highest, above)
        return heat

    def _due(self, now: float, reading: MachineReading | None, moment: datetime) -> Rest | None:
        settings, hot = self.settings, self._too_hot(now)
        battery = reading.battery if reading else None
        if settings.pause_on_battery and battery is not None and battery.plugged is False:
            return Rest("battery",
                        tr("The machine is running on battery ({percent:.0f}%). Training rests until it's plugged in.",
                           percent=battery.percent))
        if settings.hours is not None and not settings.hours.include(moment):
            return Rest("hours",
                        tr("Training rests until {start:%H:%M}; it may run from {start:%H:%M} to {end:%H:%M}.",
                           start=settings.hours.start, end=settings.hours.end))
        if not hot or (heat := self.heat) is None:
            return None
        return Rest("memory_heat" if heat.what == "memory" else "heat",
                    join_sentences(tr("{part} is at {degrees:.0f} °C; the limit is {limit:.0f} °C.", part=heat.name,
                                      degrees=heat.temperature_c, limit=heat.limit_c), self._rest_text(heat)), heat)

    def _rest_text(self, heat: Heat) -> str:
        return tr(UNTIL_COOL[self._work], degrees=heat.limit_c - COOLED_C,
                  duration=format_duration(self.settings.rest_seconds))

    def _too_hot(self, now: float) -> bool:
        """Whether heat asks for a pause, or for the rest of one."""
        heat, pausing = self.heat, self._rest is not None and self._rest.heat is not None
        if heat is None:
            self._hot_since = None
            return False
        if pausing:
            long = now - self._since >= GIVE_UP_SECONDS
            return heat.room <= 0 if long else heat.room < COOLED_C
        if heat.room > (0 if self._hot_since is None else STILL_HOT_C):
            self._hot_since = None
            return False
        if self._hot_since is None:
            # A step that took longer than that has only one reading, which describes its last seconds.
            unseen = self._looked is not None and now - self._looked >= HOT_SECONDS
            self._hot_since = now - HOT_SECONDS if unseen else now
        return now - self._hot_since >= HOT_SECONDS
