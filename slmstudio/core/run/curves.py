"""The points of a run's curves, those of its machine, and their smoothing."""

from __future__ import annotations

import bisect
import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from slmstudio.core.data import split
from slmstudio.core.data.record import Record
from slmstudio.core.files import finite
from slmstudio.core.run.config import RunConfig

# -- Watches the eval loss: which evaluation was the best, when overfitting began, when to end.

TURNED_AFTER = 2
"""Evaluations in a row above the best before it is called a turn; a single one may be chance."""


@dataclass
class EvalWatch:
    """Takes the evaluations of a run in their order.

    Attributes:
        patience: evaluations in a row without a better loss after which the run ends; 0 is never.
        best_step, best_loss: of the best evaluation so far; None before the first.
        worse: evaluations since the best one.
    """

    patience: int
    best_step: int | None = None
    best_loss: float | None = None
    worse: int = 0
    _told_of: set[int] = field(default_factory=set)

    def update(self, step: int, loss: float) -> bool:
        """Take an evaluation; whether it is the best so far. A loss that isn't a number never is."""
        if math.isfinite(loss) and (self.best_loss is None or loss < self.best_loss):
            self.best_step, self.best_loss, self.worse = step, loss, 0
            return True
        self.worse += 1
        return False

    def turned(self) -> bool:
        """Whether the eval loss has just turned upwards, once for each turn."""
        if self.worse < TURNED_AFTER or self.best_step is None or self.best_step in self._told_of:
            return False
        self._told_of.add(self.best_step)
        return True

    def wants_to_stop(self) -> bool:
        """Whether patience is at its end."""
        return 0 < self.patience <= self.worse and self.best_step is not None


# -- How strongly the result applies its adapter.

WEAKER = (0.7, 0.5, 0.35, 0.25, 0.18)
"""Tried in this order, until one isn't better than the one before."""
STRONGER = 1.3
"""Tried where no weaker one is better: a short run may not have gone far enough."""
MOST_TRIED_ON = 200
"""Held-out rows by which the strength is chosen, evenly drawn from more."""


# -- How many rows a run learns and how many steps it takes: the one count of the plan, the window and the worker.

FEW_ROWS = 100
"""Evaluations read at most as many rows as are learned, or this many if that's more. Without a backward pass, a row
takes about a third of the time, so they add at most a third to the training time."""


def divided(records: Sequence[Record], config: RunConfig) -> tuple[list[Record], list[Record]]:
    """The rows of `train_file` that are learned, and those that are split off to be evaluated."""
    if config.eval_file:
        return list(records), []
    return split.split_evenly(records, config.eval_fraction, config.split_seed, config.split_by)


def sequences(config: RunConfig) -> int:
    """Sequences that one row of the micro-batch makes: the better and the worse answer go together."""
    return 2 if config.objective in ("dpo", "orpo") else 1


def steps_per_epoch(config: RunConfig, rows: int) -> int:
    """Optimizer updates in one pass over `rows` rows, counted as transformers' Trainer does."""
    return math.ceil(math.ceil(rows / config.micro_batch_size) / config.gradient_accumulation_steps)


def total_steps(config: RunConfig, rows: int) -> int:
    """Optimizer updates of a run that learns `rows` rows."""
    return config.max_steps or max(1, math.ceil(config.epochs * steps_per_epoch(config, rows)))


def most_evaluations(config: RunConfig, rows: int, evaluated: int) -> int:
    """How many evaluations there may be besides the one before the first step: at least one, and any number of few
    rows.

    Args:
        evaluated: rows that each evaluation reads.
    """
    if evaluated <= FEW_ROWS:
        return 10**9
    return max(1, total_steps(config, rows) * config.effective_batch_size // evaluated - 1)


CPU_TEMPERATURE, CPU_LIMIT = "cpu_temperature_c", "cpu_limit_c"
CARD_FIELDS = {name: name for name in ("temperature_c", "memory_temperature_c", "power_w", "memory_used",
                                       "utilisation", "clock_mhz", "fan_percent")}
"""The fields of a card's reading that become curves, and what these are called."""
OWN_FIELDS = {name: name for name in ("process_memory", "cpu_percent")}
CPU_FIELDS = {"temperature_c": CPU_TEMPERATURE}
CARD_LIMITS = {name: name for name in ("slowdown_c", "power_limit_w", "memory_total")}
CPU_LIMITS = {"limit_c": CPU_LIMIT}
SMOOTHING = 0.9
"""How much of its average so far a smoothed curve keeps at each point, unless the user wants it otherwise."""


class Series:
    """Points of one curve with rising x.

    Attributes:
        x: steps, or seconds of work.
        y: values in the unit of the field; NaN where the worker measured a number that is none.
    """

    def __init__(self) -> None:
        self.x, self.y = array("d"), array("d")
        self._smoother: Smoother | None = None

    def __len__(self) -> int:
        return len(self.x)

    def add(self, x: float, y: float) -> None:
        """Append a point. Points at or after `x` are of an earlier attempt, and go."""
        if (points := self.x) and x <= points[-1]:
            self.cut(x)
        points.append(x)
        self.y.append(y)

    def cut(self, x: float) -> None:
        index = bisect.bisect_left(self.x, x)
        del self.x[index:]
        del self.y[index:]
        self._smoother = None

    def smoothed(self, weight: float = SMOOTHING) -> array[float]:
        """The averages of all points; those since the last call are added. A hundred thousand take longer than a frame
        of the window, so whoever reads a run asks for them first."""
        if self._smoother is None or self._smoother.weight != weight:
            self._smoother = Smoother(weight)
        return self._smoother.extend(self.y)

    def last(self) -> float | None:
        return next((value for value in reversed(self.y) if math.isfinite(value)), None)


class MachineCurves:
    """What a run's `sensors` events tell about the machine, over seconds of work.

    Attributes:
        series: by field: those of the first card as they are called, of a further one as `of_card` calls them;
            `cpu_temperature_c`, `process_memory` and `cpu_percent`.
        limits: `CARD_LIMITS` in the same way, as far as the driver tells them, and `cpu_limit_c`.
        cards: the driver's number and the name of each, in the events' order, which is that of torch's `cuda:N`.
        names: of all cards; a run may have been resumed on another machine.
        slowed_by: readings in which something held a card's clock down, by what.
        last: the newest event; empty before the first.
        newest: the newest event that tells every card's state and a temperature; empty before the first.
    """

    def __init__(self) -> None:
        names = (*CARD_FIELDS, *CPU_FIELDS.values(), *OWN_FIELDS)
        self.series: dict[str, Series] = {name: Series() for name in names}
        self.limits: dict[str, float] = {}
        self.cards: list[tuple[int, str]] = []
        self.names: list[str] = []
        self.slowed_by: dict[str, int] = {}
        self.last: dict[str, Any] = {}
        self.newest: dict[str, Any] = {}

    def add(self, event: dict[str, Any], cards: list[dict[str, Any]], at: float) -> None:
        """Take a `sensors` event that came after this many seconds of work. Fields of the wrong type are skipped.

        Args:
            cards: its cards, as `cards_of` gives them.
        """
        self.last = event
        for place, reading in enumerate(cards):
            if (name := str(reading.get("name") or "")) not in self.names:
                self.names.append(name)
            if place == len(self.cards):
                index = reading.get("index")
                self.cards.append((index if isinstance(index, int) else place, name))
            self._note(reading, CARD_FIELDS, CARD_LIMITS, at, place)
            for cause in reading.get("slowed_by") or ():
                self.slowed_by[str(cause)] = self.slowed_by.get(str(cause), 0) + 1
        self._note(event, OWN_FIELDS, {}, at)
        if isinstance(cpu := event.get("cpu"), dict):
            self._note(cpu, CPU_FIELDS, CPU_LIMITS, at)
        if isinstance(event.get("gpus"), list) and any(
                self.series[name] and self.series[name].x[-1] == at for name in ("temperature_c", CPU_TEMPERATURE)):
            self.newest = event

    def _note(self, reading: dict[str, Any], fields: dict[str, str], limits: dict[str, str], at: float,
              place: int = 0) -> None:
        """Add a point to the curve of each field that the reading has, and note its limits."""
        for own, name in fields.items():
            if (value := reading.get(own)) is not None and (value := finite(value)) is not None:
                name = of_card(name, place) if place else name
                if (curve := self.series.get(name)) is None:
                    curve = self.series[name] = Series()
                curve.add(at, value)
        for own, name in limits.items():
            if (value := reading.get(own)) is not None and (value := finite(value)) is not None:
                self.limits[of_card(name, place) if place else name] = value


def of_card(name: str, place: int) -> str:
    """What a card's series or limit is called: the first one's as its field, the next one's with "@1".

    >>> of_card("power_w", 0), of_card("power_w", 1)
    ('power_w', 'power_w@1')
    """
    return f"{name}@{place}" if place else name


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
