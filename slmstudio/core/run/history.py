"""What a run's events add up to: its curves, its figures of the moment, and what is worth telling.

The Training tab, old runs in Results and the terminal read the same history, so that they agree.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from typing import Any

from slmstudio.core.files import an_object, finite, number
from slmstudio.core.hardware.readings import cards_of
from slmstudio.core.jobs import MEMORY_KILL
from slmstudio.core.run.curves import MachineCurves, Series, Smoother
from slmstudio.core.run.energy import energy_use
from slmstudio.core.run.energy.energy_use import EnergyMeter
from slmstudio.core.run.guard_summary import GuardSummary, Interval

STEP_FIELDS = ("train_loss", "learning_rate", "grad_norm", "tokens_per_second")
TOLD = frozenset(
    {"job_started", "plan", "resumed_from", "checkpoint_saved", "paused", "resumed", "warning", "job_ended", "changed",
     "adjusted", "overfitting", "suspended", "sleep_prevented", "early_stop", "best_used",
     "fit_measured", "guard_rest", "guard_resume", "guard_changed", "guard_unavailable", "power_limit_advised",
     MEMORY_KILL}
)
"""Types of events that a user wants to read as a line, beside the evaluations."""


class RunHistory:
    """Folds a run's events, in their order, into what a window shows.

    Attributes:
        series: by field: `train_loss`, `learning_rate`, `grad_norm`, `tokens_per_second` and `eval_loss` over steps;
            those of `machine` over seconds of work: `temperature_c`, `power_w` (watts), `memory_used` (bytes) …
        machine: what the sensors told, of each card; its `series` and `limits` are these.
        computers: the `machine` events, each machine once.
        lines: where in events.jsonl the lines of the steps of `series` are, in bytes, if it was read from there.
        told: the events that are worth a line, each evaluation with `best` added.
        told_at: after how many seconds of work each of `told` came.
        log: `log` and `warning` events.
        plan: the newest `plan` event, or empty.
        phase, detail: what it does now, such as "loading model" and the model's name.
        phases: phases of this attempt so far, in their order, each once.
        done, total, unit: how far that phase is; total 0 when nobody knows.
        phase_seconds_left: how long it will take, if the worker says so.
        step, epoch, seconds_left: of the newest step.
        total_steps: of the whole run, as planned or as changed since; 0 before the plan is known.
        stepping: whether this attempt has made a step.
        sensors_missing: why there is no GPU reading, or "".
        locks: `lock` events: what kept the process from the network, at each start.
        samples: `sample` events with rising `global_step`: what the model answered to the fixed prompts.
        best_eval_loss: the lowest that is a number; None before an evaluation.
        overfit_step: where eval loss was lowest before it began to rise; None while it falls, or falls again.
        changes: `changed` events: what was decided again while it learned.
        adjustments: `adjusted` events: what the worker lowered because memory ran out.
        suspended_seconds: how long the machine slept or the process stood still; no part of `seconds`.
        change_refused: why the newest change wasn't made, or "".
        used_step: the step whose weights are the result, once the worker has chosen the best ones.
        strength: at which the result applies its adapter, where the worker has chosen that; result_loss: its eval loss.
        guard: what the heat guard did; its intervals are over seconds of work, as the sensors' series are.
        energy: what it drew, all attempts together.
        damaged: lines of events.jsonl that couldn't be read.
    """

    def __init__(self) -> None:
        self.machine = MachineCurves()
        self.machine.series |= {name: Series() for name in (*STEP_FIELDS, "eval_loss")}
        self.lines = Series()
        self.computers: list[dict[str, Any]] = []
        self.told: list[dict[str, Any]] = []
        self.told_at = array("d")
        self.log: list[dict[str, Any]] = []
        self.plan: dict[str, Any] = {}
        self.phase, self.detail, self.unit = "", "", ""
        self.phases: list[str] = []
        self.done, self.total = 0.0, 0.0
        self.step, self.epoch = 0, 0.0
        self.seconds_left: float | None = None
        self.phase_seconds_left: float | None = None
        self.paused = self.stepping = False
        self.sensors_missing = ""
        self.locks: list[dict[str, Any]] = []
        self.machines: dict[str, Any] = {}
        self.samples: list[dict[str, Any]] = []
        self.best_eval_loss: float | None = None
        self.overfit_step: int | None = None
        self.changes: list[dict[str, Any]] = []
        self.adjustments: list[dict[str, Any]] = []
        self.change_refused = ""
        self.suspended_seconds = 0.0
        self.used_step: int | None = None
        self.strength = self.result_loss = None  # type: float | None
        self.guard = GuardSummary()
        self.last_time: float | None = None
        self.energy = EnergyMeter()
        self.total_steps = self.damaged = 0
        self._seconds_before = 0.0
        self._suspended_now = 0.0
        self._attempt_began: float | None = None

    @property
    def series(self) -> dict[str, Series]:
        return self.machine.series

    @property
    def limits(self) -> dict[str, float]:
        return self.machine.limits

    @property
    def warnings(self) -> list[dict[str, Any]]:
        return [event for event in self.log if event.get("type") == "warning"]

    @property
    def evaluations(self) -> list[dict[str, Any]]:
        """The `eval` events that count, by rising step; what a resumed attempt did again is in them once."""
        newest = {finite(event.get("global_step")): event for event in self.told if event.get("type") == "eval"}
        return [newest[step] for step in self.series["eval_loss"].x]

    @property
    def seconds(self) -> float:
        """Seconds of work so far; the time between a crash and the Resume is none, nor is that of a machine asleep."""
        if self._attempt_began is None or self.last_time is None:
            return self._seconds_before
        return self._seconds_before + max(0.0, self.last_time - self._attempt_began - self._suspended_now)

    @property
    def best_step(self) -> int | None:
        """The first step with the lowest eval loss; None before an evaluation."""
        losses, best = self.series["eval_loss"], self.best_eval_loss
        return None if best is None else int(losses.x[losses.y.index(best)])

    def eval_loss_after(self, result: dict[str, Any]) -> float | None:
        """Eval loss at the end, or so far: as the result says, else of the newest evaluation.

        Args:
            result: of the outcome; empty while there is none.

        Returns:
            None if nothing was measured after the first evaluation, which is of the model as it came; NaN where the
            newest isn't a number.
        """
        told, losses = number(result, "eval_loss_after"), self.series["eval_loss"].y
        return told if told is not None else losses[-1] if len(losses) > 1 else None

    def later_values(self) -> Iterator[tuple[str, Any, dict[str, Any]]]:
        """The fields that were changed during the run: name, value, and the event that says so. First what the worker
        lowered, then what the user changed."""
        for event in self.adjustments:
            for name, value in an_object(event.get("changes")).items():
                yield name, value, event
        for event in self.changes:
            asked = an_object(event.get("asked"))
            for name in ("learning_rate", "epochs", "max_steps"):
                if name in asked:
                    yield name, event.get(name, asked[name]), event
        for event in self.guard.changes:
            for name, value in event["values"].items():
                yield name, value, event

    def add(self, event: dict[str, Any], line: int = 0) -> None:
        """Take one event; `_on_TYPE` takes those of a type. Unknown types, and fields of an unexpected kind, are passed
        over.

        Args:
            line: where its line begins in events.jsonl, in bytes.
        """
        kind = event.get("type")
        if not isinstance(kind, str):
            return
        time = finite(event.get("time"))
        if time is not None:
            if kind == "job_started" or self._attempt_began is None:
                self._seconds_before, self._attempt_began, self._suspended_now = self.seconds, time, 0.0
            self.last_time = time
        if kind == "step":  # with the sensors, nearly all events of a long run
            self.guard.note_time(time, self.seconds)
            self._on_step(event, line)
        elif kind == "sensors":
            self._on_sensors(event, time)
        else:
            self.energy.add(event)
            self.guard.add(event, self.seconds)
            if (handler := getattr(self, f"_on_{kind}", None)) is not None:
                handler(event)
            if kind in TOLD:
                self._report(event)

    def _report(self, event: dict[str, Any]) -> None:
        self.told.append(event)
        self.told_at.append(self.seconds)

    def _on_job_started(self, event: dict[str, Any]) -> None:
        self.phase, self.detail, self.done, self.total = "starting", "", 0.0, 0.0
        self.phases = []
        self.machines = {}
        self.paused = self.stepping = False
        self.seconds_left = self.phase_seconds_left = None
        self.change_refused = ""

    def _on_machine(self, event: dict[str, Any]) -> None:
        if _lasting(event) not in map(_lasting, self.computers):
            self.computers.append(event)

    def _on_machines(self, event: dict[str, Any]) -> None:
        self.machines = event

    def _on_plan(self, event: dict[str, Any]) -> None:
        self.plan = event
        self.total_steps = int(number(event, "total_steps") or 0)

    def _on_phase(self, event: dict[str, Any]) -> None:
        self.phase, self.detail = str(event.get("phase", "")), str(event.get("detail") or "")
        self.done, self.total, self.phase_seconds_left = 0.0, 0.0, None
        if self.phase not in self.phases:
            self.phases.append(self.phase)

    def _on_progress(self, event: dict[str, Any]) -> None:
        self.phase, self.unit = str(event.get("phase", self.phase)), str(event.get("unit", ""))
        self.done, self.total = number(event, "done") or 0.0, number(event, "total") or 0.0
        self.phase_seconds_left = number(event, "seconds_left")

    def _on_step(self, event: dict[str, Any], line: int) -> None:
        step = finite(event.get("global_step"))
        if step is None:
            return
        series = self.machine.series
        if step <= self.step and series["train_loss"].x:
            self._take_back(step)
        self.step, self.stepping, self.paused = int(step), True, False
        self.epoch = finite(event.get("epoch")) or self.epoch
        self.seconds_left = finite(event.get("seconds_left"))
        self.lines.add(step, line)
        for name in STEP_FIELDS:
            if name in event:
                value = finite(event[name])
                series[name].add(step, math.nan if value is None else value)

    def _take_back(self, step: float) -> None:
        """A resumed attempt learns again from `step` on: what the earlier one did from there doesn't count."""
        for name in (*STEP_FIELDS, "eval_loss"):
            self.series[name].cut(step)
        self._find_best()
        self._cut_samples(step)
        if self.overfit_step is not None and self.overfit_step >= step:
            self.overfit_step = None

    def _on_eval(self, event: dict[str, Any]) -> None:
        step, loss = number(event, "global_step"), number(event, "eval_loss")
        if step is None:
            return
        losses, best = self.series["eval_loss"], self.best_eval_loss
        again = bool(losses) and step <= losses.x[-1]
        losses.add(step, math.nan if loss is None else loss)
        if again:
            self._find_best()
        elif loss is not None and (best is None or loss < best):
            self.best_eval_loss = losses.y[-1]
        self._report({**event, "best": loss is not None and best is not None and loss < best})
        if loss is not None and best is not None and loss < best:
            self.overfit_step = None  # it got better after all

    def _find_best(self) -> None:
        """Among all: only where some went, since a run may be evaluated ten thousand times."""
        self.best_eval_loss = min(filter(math.isfinite, self.series["eval_loss"].y), default=None)

    def _on_overfitting(self, event: dict[str, Any]) -> None:
        step = number(event, "global_step")
        self.overfit_step = None if step is None else int(step)

    def _on_sample(self, event: dict[str, Any]) -> None:
        step = number(event, "global_step")
        if step is None or not isinstance(event.get("samples"), list):
            return
        self._cut_samples(step)
        self.samples.append({**event, "samples": [each for each in event["samples"] if isinstance(each, dict)]})

    def _cut_samples(self, step: float) -> None:
        """Answers of an earlier attempt at `step` and after don't count."""
        while self.samples and self.samples[-1]["global_step"] >= step:
            self.samples.pop()

    def _on_changed(self, event: dict[str, Any]) -> None:
        self.changes.append(event)
        self.change_refused = ""
        self.total_steps = int(number(event, "total_steps") or self.total_steps)

    def _on_adjusted(self, event: dict[str, Any]) -> None:
        self.adjustments.append({"global_step": self.step, **event} if self.step else event)

    def _on_suspended(self, event: dict[str, Any]) -> None:
        seconds = max(0.0, number(event, "seconds") or 0.0)
        self.suspended_seconds += seconds
        self._suspended_now += seconds

    def _on_best_used(self, event: dict[str, Any]) -> None:
        step = number(event, "global_step")
        self.used_step = None if step is None else int(step)
        self.strength, self.result_loss = finite(event.get("strength")), finite(event.get("eval_loss"))

    def _on_sensors(self, event: dict[str, Any], time: float | None) -> None:
        cards, seconds = cards_of(event), self.seconds
        if self.sensors_missing and cards and not cards[0].get("lost"):
            self.sensors_missing = ""  # it answers again
        if time is not None:
            self.energy.read(time, event, cards)
        self.guard.note_peak(event, cards)
        self.guard.note_time(time, seconds)
        self.machine.add(event, cards, seconds)

    def _on_sensors_unavailable(self, event: dict[str, Any]) -> None:
        self.sensors_missing = str(event.get("reason") or "unavailable")

    def _on_lock(self, event: dict[str, Any]) -> None:
        self.locks.append(event)

    def _on_paused(self, event: dict[str, Any]) -> None:
        self.paused, self.phase_seconds_left = event["type"] == "paused", None

    _on_resumed = _on_job_ended = _on_paused

    def _on_log(self, event: dict[str, Any]) -> None:
        self.log.append(event)
        if event.get("code") == "change_refused":
            self.change_refused = str(event.get("message") or "")

    _on_warning = _on_log


def _lasting(machine: dict[str, Any]) -> dict[str, Any]:
    """What distinguishes machines; free memory differs each time."""
    return {name: machine.get(name) for name in ("cpu", "cores", "ram_total", "gpus", "system")}


# -- A history as JSON, and copies of it.

_CHANGING = (RunHistory, MachineCurves, Series, GuardSummary, Interval, EnergyMeter,
             energy_use._Card, energy_use._Counter)
"""What a history is made of, beside events."""
_CLASSES = {kind.__name__: kind for kind in _CHANGING}


def copied(value: Any) -> Any:
    """A history that can change without this one; they share the events that they hold, which nobody changes."""
    if isinstance(value, array):
        return value[:]
    if isinstance(value, list):
        return [copied(each) if isinstance(each, Interval) else each for each in value]
    if isinstance(value, dict):
        return {name: copied(each) if isinstance(each, _CHANGING) else each for name, each in value.items()}
    if not isinstance(value, (*_CHANGING, Smoother)):
        return value
    made = object.__new__(type(value))
    vars(made).update({name: copied(each) for name, each in vars(value).items()})
    return made


def as_plain(tag: str, arrays: dict[bytes, int], value: Any) -> Any:
    """An object of a history as JSON, which calls it `tag`; the points of a curve by their place in `arrays`."""
    if isinstance(value, array):
        return {tag: array.__name__, "place": arrays.setdefault(value.tobytes(), len(arrays))}
    return None if isinstance(value, Smoother) else {tag: type(value).__name__, **vars(value)}


def from_plain(tag: str, arrays: list[bytes], value: dict[str, Any]) -> Any:
    """The object of which `as_plain` made this."""
    kind = value.pop(tag, None)
    if kind is None:
        return value
    if kind == array.__name__:
        return array("d", arrays[value["place"]])
    made = object.__new__(_CLASSES[kind])
    vars(made).update(value)
    return made
