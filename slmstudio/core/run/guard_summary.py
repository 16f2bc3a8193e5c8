"""What the guard did in a run, from its events: for the summary, the report, the terminal, and the plots.

    guard_rest         a pause begins, or holding a temperature ("hold" as `why`), with a `message`
    guard_hold         once a minute while a temperature is held: `working`, the share of the time that is worked
    guard_resume       it is over; `seconds` were rested since the last of these events
    guard_changed      other settings, as the user asked for
    guard_unavailable  no temperature can be read, so heat isn't looked at
    power_limit_advised  a lower power limit would help: `watts`, `command`, `message`
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from typing import Any

from slmstudio.core import jobs
from slmstudio.core.files import finite, number
from slmstudio.core.hardware.heat_guard import Settings
from slmstudio.core.hardware.heat_limits import Hours
from slmstudio.core.i18n import noop, ntr, tr
from slmstudio.core.run import adjust, config_file
from slmstudio.core.run.config import FIELDS, HEAT, RunConfig, label
from slmstudio.core.units import format_duration

# -- What a run's fields ask of the guard. They may change at any time: nothing that is learned depends on them.

GUARD_FIELDS = tuple(name for name, about in FIELDS.items() if about.group == HEAT)
"""The fields that the command "guard" of a running run may hold."""

EMPTY = {"heat_limit_c": noop("automatic"), "train_hours": noop("always")}


def told(values: dict[str, Any]) -> list[str]:
    """Values of these fields as people read them: "Temperature limit, °C: 78"."""
    found = []
    for name, value in values.items():
        switch = tr("on") if value else tr("off")
        word = tr(EMPTY[name]) if value is None else switch if isinstance(value, bool) else value
        found.append(f"{label(name)}: {word}")
    return found


def settings_of(config: RunConfig) -> Settings:
    """The guard's settings of a run whose fields have been checked."""
    hours: Any = Hours.parse(config.train_hours) if config.train_hours else None
    return Settings(config.heat_guard, config.heat_limit_c, config.heat_rest_seconds,  # type: ignore[arg-type]
                    config.pause_on_battery, hours)


def as_changed(config: RunConfig, values: dict[str, Any]) -> RunConfig:
    """The configuration with other values of `GUARD_FIELDS`; what a later version wrote of others is passed over."""
    fitting: dict[str, Any] = {}
    for name in (name for name in GUARD_FIELDS if name in values):
        with contextlib.suppress(ValueError):
            fitting[name] = FIELDS[name].read(values[name])
    changed = replace(config, **fitting)
    return config if changed.problems() else changed


def ask(job: jobs.Job, values: dict[str, Any]) -> RunConfig:
    """Other settings for a run: one that trains takes them at its next step, another at its next start.

    They are kept in both cases, so that they also hold where the run ends before that step.

    Args:
        values: of `GUARD_FIELDS`, as their types or as a user typed them.

    Returns:
        The run's configuration with them.

    Raises:
        UserError: it isn't a run, or a value doesn't fit; all of them at once.
    """
    config = adjust.apply(config_file.load(job.folder), job.folder)
    fitting = adjust.checked(job.folder, values)
    if fitting:
        adjust.record(job.folder, fitting)
        if job.is_alive():
            job.send("guard", **fitting)
    return replace(config, **fitting)


HOLD = "hold"
CAUSES = {"heat": noop("heat"), "memory_heat": noop("heat of the memory"), "battery": noop("battery"),
          "hours": noop("hours"), HOLD: noop("holding the temperature")}


@dataclass
class Interval:
    """A stretch in which the run rested, or held a temperature.

    Attributes:
        start, end: where the events were, on the axis that `add` was given; end is None while it lasts.
        first_step, last_step: the same in steps; a pause begins and ends at one step.
    """

    why: str
    start: float
    end: float | None = None
    first_step: float | None = None
    last_step: float | None = None


@dataclass
class GuardSummary:
    """Takes a run's events in their order.

    Attributes:
        seconds: rested, by cause; a rest that a crash ended counts as long as there were events.
        pauses: rests that weren't between steps.
        intervals: of rests, for plots.
        resting: the event of the rest that is under way, or None.
        working: the share of the time that is worked, while a temperature is held; otherwise None.
        power_limit: the newest `power_limit_advised` event, or None.
        changes: the `guard_changed` events.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    pauses: int = 0
    intervals: list[Interval] = field(default_factory=list)
    resting: dict[str, Any] | None = None
    working: float | None = None
    power_limit: dict[str, Any] | None = None
    changes: list[dict[str, Any]] = field(default_factory=list)
    _peak_card: float | None = None
    _peak_cpu: float | None = None
    _on_cpu: bool = False
    _last: float | None = None
    _last_at: float | None = None
    _began: float | None = None

    def add(self, event: dict[str, Any], at: float) -> None:
        """Take one event, but for those of the sensors; others than the guard's are passed over.

        Args:
            at: where it is on the axis of the plots.
        """
        kind, time = event.get("type"), number(event, "time")
        if kind == "guard_rest":
            self._close(None)
            self._open(event, time, at)
        elif kind == "guard_hold":
            self._count(HOLD, number(event, "seconds"))
            self.working = number(event, "working")
        elif kind == "guard_resume" and self.resting is not None:
            self._close(event, at)
        elif kind in ("job_started", "job_ended"):
            self._close(None)
        elif kind == "plan":
            self._on_cpu = event.get("device") == "cpu"
        elif kind == "power_limit_advised":
            self.power_limit = event
        elif kind == "guard_changed" and isinstance(event.get("values"), dict):
            self.changes.append(event)
        self.note_time(time, at)

    def note_time(self, time: float | None, at: float) -> None:
        """Note when an event came."""
        if time is not None:
            self._last, self._last_at = time, at

    def _open(self, event: dict[str, Any], time: float | None, at: float) -> None:
        why = str(event.get("why") or "heat")
        self.resting, self._began = event, time
        self.pauses += why != HOLD
        self.intervals.append(Interval(why, at, first_step=number(event, "global_step")))

    def _close(self, event: dict[str, Any] | None, at: float | None = None) -> None:
        """The rest is over; without an event the worker ended in it."""
        if self.resting is None:
            return
        why = str(self.resting.get("why") or "heat")
        if event is not None:
            self._count(why, number(event, "seconds"))
        elif why != HOLD and self._began is not None and self._last is not None:
            self._count(why, self._last - self._began)
        if self.intervals and self.intervals[-1].end is None:
            self.intervals[-1].end = self._last_at if at is None else at
            self.intervals[-1].last_step = number(event, "global_step") if event is not None else None
        self.resting = self.working = None

    def _count(self, why: str, seconds: float | None) -> None:
        self.seconds[why] = self.seconds.get(why, 0.0) + max(0.0, seconds or 0.0)

    def note_peak(self, event: dict[str, Any], cards: list[dict[str, Any]]) -> None:
        """Look at the temperatures of a `sensors` event and of its cards, as `cards_of` gives them."""
        for card in cards:
            self._peak_card = _higher(self._peak_card, finite(card.get("temperature_c")))
        cpu = event.get("cpu")
        if isinstance(cpu, dict):
            self._peak_cpu = _higher(self._peak_cpu, finite(cpu.get("temperature_c")))

    @property
    def peak_c(self) -> float | None:
        """The highest temperature of a card; of the processor where that does the work or no card tells one."""
        return self._peak_cpu if self._on_cpu or self._peak_card is None else self._peak_card

    @property
    def stands_still(self) -> bool:
        """Whether the run rests now; while it holds a temperature, it still works."""
        return self.resting is not None and self.resting.get("why") != HOLD

    @property
    def changed(self) -> dict[str, Any]:
        """By field of the guard, what a user wanted last while the run was running."""
        return {name: value for event in self.changes for name, value in event["values"].items()}

    @property
    def rested(self) -> float:
        return sum(self.seconds.values())

    def ended(self) -> GuardSummary:
        """The same, if nothing more comes: a rest that is under way counts as long as there were events."""
        found = replace(self, seconds={**self.seconds}, intervals=[*map(replace, self.intervals)])
        found._close(None)
        return found

    def sentence(self) -> str:
        return sentence(self.seconds, self.pauses, self.peak_c)

    def to_dict(self) -> dict[str, Any]:
        return {"rested_seconds": round(self.rested, 1), "pauses": self.pauses, "peak_c": self.peak_c,
                "seconds_by_cause": {why: round(seconds, 1) for why, seconds in self.seconds.items()},
                "sentence": self.sentence()}


def sentence(seconds: dict[str, float], pauses: int, peak_c: float | None) -> str:
    """What the guard did, such as "Rested 14 min in 3 pauses. Peak: 81 °C."; "" if there is nothing to say.

    Args:
        seconds: rested, by cause.
    """
    peak = "" if peak_c is None else tr("Peak: {degrees:.0f} °C.", degrees=peak_c)
    if not any(seconds.values()) and not pauses:
        return " ".join((tr("No rest was needed."), peak)) if peak else ""
    return f"{_rests(seconds, pauses)} {peak}".strip()


def _rests(seconds: dict[str, float], pauses: int) -> str:
    found = sorted(seconds.items(), key=lambda each: -each[1])
    causes = ", ".join(f"{tr(CAUSES.get(why, why))} {format_duration(each)}" for why, each in found)
    values: dict[str, Any] = {"time": format_duration(sum(seconds.values())), "causes": causes}
    if len(found) > 1 or seconds.keys() <= {"battery", "hours"}:  # heat needs no word
        return (ntr("Rested {time} in {n} pause ({causes}).", "Rested {time} in {n} pauses ({causes}).", pauses,
                    **values) if pauses else tr("Rested {time} between steps ({causes}).", **values))
    return (ntr("Rested {time} in {n} pause.", "Rested {time} in {n} pauses.", pauses, **values) if pauses else
            tr("Rested {time} between steps.", **values))


def _higher(known: float | None, value: float | None) -> float | None:
    return known if value is None or (known is not None and known >= value) else value
