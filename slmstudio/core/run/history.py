"""What a run's events add up to: its curves, its figures of the moment, and what is worth telling.

The Training tab, old runs in Results and the terminal read the same history, so that they agree.
"""

from __future__ import annotations

import bisect
import math
from array import array
from typing import Any

STEP_FIELDS = ("train_loss", "learning_rate", "grad_norm", "tokens_per_second")
GPU_FIELDS = ("temperature_c", "power_w", "memory_used")
LIMIT_FIELDS = ("slowdown_c", "power_limit_w", "memory_total")
TOLD = frozenset(
    {"job_started", "plan", "resumed_from", "checkpoint_saved", "paused", "resumed", "warning", "job_ended"}
)
"""Types of events that a person wants to read as a line, beside the evaluations."""


class Series:
    """Points of one curve with rising x.

    Attributes:
        x: steps, or seconds of work.
        y: values in the unit of the field; NaN where the worker measured a number that is none.
    """

    __slots__ = ("x", "y")

    def __init__(self) -> None:
        self.x, self.y = array("d"), array("d")

    def __len__(self) -> int:
        return len(self.x)

    def add(self, x: float, y: float) -> None:
        """Append a point. Points at or after `x` are of an earlier attempt, and go."""
        if self.x and x <= self.x[-1]:
            self.cut(x)
        self.x.append(x)
        self.y.append(y)

    def cut(self, x: float) -> None:
        """Drop the points at `x` and after."""
        index = bisect.bisect_left(self.x, x)
        del self.x[index:]
        del self.y[index:]

    def last(self) -> float | None:
        """The newest value that is a number."""
        return next((value for value in reversed(self.y) if math.isfinite(value)), None)


class Smoother:
    """Exponential moving average without the pull towards zero at the start.

    m ← w·m + (1 − w)·x, shown as m / (1 − wⁿ): the debiased form of Adam (Kingma & Ba 2015, section 3).
    NaN leaves the average as it was.
    """

    def __init__(self, weight: float):
        if not 0 <= weight < 1:
            raise ValueError(f"the weight must be from 0 to below 1, not {weight}")
        self.weight = weight
        self.values = array("d")
        self._mean, self._debias = 0.0, 1.0

    def extend(self, values: array[float]) -> array[float]:
        """Take the values that came since the last call, and return all averages.

        Args:
            values: all values so far; those of the last call are still the same.
        """
        weight, mean, debias, out = self.weight, self._mean, self._debias, self.values
        for value in values[len(out) :]:
            if math.isfinite(value):
                mean = weight * mean + (1 - weight) * value
                debias *= weight
            out.append(mean / (1 - debias) if debias < 1 else value)
        self._mean, self._debias = mean, debias
        return out


class RunHistory:
    """Folds a run's events, in their order, into what a window shows.

    Attributes:
        series: by field: `train_loss`, `learning_rate`, `grad_norm`, `tokens_per_second` and `eval_loss` over steps;
            `temperature_c`, `power_w` (watts), `memory_used` (bytes) of the first GPU, `process_memory` (bytes) and
            `cpu_percent` over seconds of work.
        limits: `slowdown_c`, `power_limit_w`, `memory_total`, as far as the driver tells them.
        told: the events that are worth a line, each evaluation with `best` added.
        log: `log` and `warning` events.
        plan: the newest `plan` event, or empty.
        phase, detail: what it does now, as "loading model" and the model's name.
        phases: phases of this attempt so far, in their order, each once.
        done, total, unit: how far that phase is; total 0 when nobody knows.
        step, epoch, seconds_left: of the newest step.
        stepping: whether this attempt has made a step.
        sensors_missing: why there is no GPU reading, or "".
        takes_back: counts how often an attempt went back behind an earlier one, which ends what was derived.
    """

    def __init__(self) -> None:
        names = (*STEP_FIELDS, "eval_loss", *GPU_FIELDS, "process_memory", "cpu_percent")
        self.series: dict[str, Series] = {name: Series() for name in names}
        self.limits: dict[str, float] = {}
        self.told: list[dict[str, Any]] = []
        self.log: list[dict[str, Any]] = []
        self.plan: dict[str, Any] = {}
        self.phase, self.detail, self.unit = "", "", ""
        self.phases: list[str] = []
        self.done, self.total = 0.0, 0.0
        self.step, self.epoch = 0, 0.0
        self.seconds_left: float | None = None
        self.paused = self.stepping = False
        self.sensors_missing = ""
        self.takes_back = 0
        self.last_time: float | None = None
        self._seconds_before = 0.0
        self._attempt_began: float | None = None

    @property
    def total_steps(self) -> int:
        """Steps of the whole run; 0 before the plan is known."""
        return int(_number(self.plan, "total_steps") or 0)

    @property
    def seconds(self) -> float:
        """Seconds of work so far; the time between a crash and the Resume is none."""
        if self._attempt_began is None or self.last_time is None:
            return self._seconds_before
        return self._seconds_before + max(0.0, self.last_time - self._attempt_began)

    @property
    def best_eval_loss(self) -> float | None:
        return min(filter(math.isfinite, self.series["eval_loss"].y), default=None)

    def add(self, event: dict[str, Any]) -> None:
        """Take one event. Unknown types, and fields of an unexpected kind, are passed over."""
        kind = event.get("type")
        if not isinstance(kind, str):
            return
        time = _number(event, "time")
        if time is not None:
            if kind == "job_started" or self._attempt_began is None:
                self._seconds_before, self._attempt_began = self.seconds, time
            self.last_time = time
        handler = _HANDLERS.get(kind)
        if handler is not None:
            handler(self, event)
        if kind in TOLD:
            self.told.append(event)

    def _start(self, event: dict[str, Any]) -> None:
        self.phase, self.detail, self.done, self.total = "starting", "", 0.0, 0.0
        self.phases = []
        self.paused = self.stepping = False
        self.seconds_left = None

    def _plan(self, event: dict[str, Any]) -> None:
        self.plan = event

    def _phase(self, event: dict[str, Any]) -> None:
        self.phase, self.detail = str(event.get("phase", "")), str(event.get("detail") or "")
        self.done = self.total = 0.0
        if self.phase not in self.phases:
            self.phases.append(self.phase)

    def _progress(self, event: dict[str, Any]) -> None:
        self.phase, self.unit = str(event.get("phase", self.phase)), str(event.get("unit", ""))
        self.done, self.total = _number(event, "done") or 0.0, _number(event, "total") or 0.0

    def _step(self, event: dict[str, Any]) -> None:
        step = _number(event, "global_step")
        if step is None:
            return
        if step <= self.step and self.series["train_loss"]:
            self._take_back(step)
        self.step, self.stepping, self.paused = int(step), True, False
        self.epoch = _number(event, "epoch") or self.epoch
        self.seconds_left = _number(event, "seconds_left")
        for name in STEP_FIELDS:
            if name in event:
                value = _number(event, name)
                self.series[name].add(step, math.nan if value is None else value)

    def _take_back(self, step: float) -> None:
        """A resumed attempt learns again from `step` on: what the earlier one did from there does not count."""
        for name in (*STEP_FIELDS, "eval_loss"):
            self.series[name].cut(step)
        self.takes_back += 1

    def _eval(self, event: dict[str, Any]) -> None:
        step, loss = _number(event, "global_step"), _number(event, "eval_loss")
        if step is None:
            return
        best = self.best_eval_loss
        self.series["eval_loss"].add(step, math.nan if loss is None else loss)
        self.told.append({**event, "best": loss is not None and best is not None and loss < best})

    def _sensors(self, event: dict[str, Any]) -> None:
        gpu = event.get("gpu")
        readings = {
            **(gpu if isinstance(gpu, dict) else {}),
            **{name: event.get(name) for name in ("process_memory", "cpu_percent")},
        }
        for name in (*GPU_FIELDS, "process_memory", "cpu_percent"):
            value = _number(readings, name)
            if value is not None:
                self.series[name].add(self.seconds, value)
        for name in LIMIT_FIELDS:
            value = _number(readings, name)
            if value is not None:
                self.limits[name] = value

    def _no_sensors(self, event: dict[str, Any]) -> None:
        self.sensors_missing = str(event.get("reason") or "unavailable")

    def _pause(self, event: dict[str, Any]) -> None:
        self.paused = event["type"] == "paused"

    def _log(self, event: dict[str, Any]) -> None:
        self.log.append(event)

    def _end(self, event: dict[str, Any]) -> None:
        self.paused = False


_HANDLERS = {
    "job_started": RunHistory._start,
    "plan": RunHistory._plan,
    "phase": RunHistory._phase,
    "progress": RunHistory._progress,
    "step": RunHistory._step,
    "eval": RunHistory._eval,
    "sensors": RunHistory._sensors,
    "sensors_unavailable": RunHistory._no_sensors,
    "paused": RunHistory._pause,
    "resumed": RunHistory._pause,
    "log": RunHistory._log,
    "warning": RunHistory._log,
    "job_ended": RunHistory._end,
}


def _number(event: dict[str, Any], name: str) -> float | None:
    """A finite number, or None: the worker sends NaN and Inf as null."""
    value = event.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return value
