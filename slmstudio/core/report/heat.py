"""Heat, load and memory of a run, as far as a sensor said them; nothing is guessed."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from slmstudio.core.files import an_object, finite
from slmstudio.core.hardware.readings import cards_of
from slmstudio.core.i18n import noop, tr
from slmstudio.core.report.text import Table, exact
from slmstudio.core.units import format_bytes, format_reading

Of = tuple[int | None, str]
"""A card, or None for what doesn't belong to a card; and a field of its reading."""


@dataclass
class Range:
    """Lowest, mean and highest of a reading."""

    count: int = 0
    low: float = math.inf
    high: float = -math.inf
    total: float = 0.0

    def add(self, value: float) -> None:
        self.count += 1
        self.low, self.high, self.total = min(self.low, value), max(self.high, value), self.total + value

    @property
    def mean(self) -> float:
        return self.total / self.count


@dataclass
class Heat:
    """Takes `sensors` events in their order.

    Attributes:
        gpus: names of the cards that were read.
        ranges: by card, as the driver numbers it, and field.
        limits: slowdown_c, power_limit_w and memory_total of a card, limit_c of the processor, the newest ones.
        slowed_by: readings in which something held the clock down, by what.
    """

    gpus: Counter[str] = field(default_factory=Counter)
    ranges: dict[Of, Range] = field(default_factory=dict)
    limits: dict[Of, float] = field(default_factory=dict)
    slowed_by: Counter[str] = field(default_factory=Counter)

    def add(self, event: dict[str, Any]) -> None:
        self._note(None, _OTHERS, {**event, **an_object(event.get("cpu"))})
        for number, card in enumerate(cards_of(event)):
            index = card.get("index")
            self._note(index if isinstance(index, int) else number, _OF_A_CARD, card)
            self.gpus[str(card.get("name") or tr("an NVIDIA GPU"))] += 1
            for cause in card.get("slowed_by") or ():
                self.slowed_by[str(cause)] += 1

    def _note(self, card: int | None, lines: tuple[_Line, ...], reading: dict[str, Any]) -> None:
        for name, _, _, limit in lines:
            if (value := finite(reading.get(name))) is not None:
                self.ranges.setdefault((card, name), Range()).add(value)
            if (bound := finite(reading.get(limit))) is not None:
                self.limits[card, limit] = bound

    def table(self) -> Table:
        """One line a reading: lowest, mean, highest, and its limit."""
        rows = []
        cards = sorted({card for card, _ in self.ranges if card is not None})
        lines: list[tuple[int | None, _Line]] = [(card, line) for card in cards for line in _OF_A_CARD]
        for card, (name, label, unit, limit) in (*lines, *((None, line) for line in _OTHERS)):
            found = self.ranges.get((card, name))
            if found is None:
                continue
            label = tr(label)
            if card is not None and len(cards) > 1:
                label = tr("{reading}, card {index}", reading=label, index=card)
            cells = [_write(value, unit) for value in (found.low, found.mean, found.high)]
            bound = self.limits.get((card, limit))
            rows.append((label, *cells, None if bound is None else _write(bound, unit), exact(found.count)))
        return Table((tr("Reading"), tr("Lowest"), tr("Mean"), tr("Highest"), tr("Limit"), tr("Readings")), "lrrrrr",
                     rows)


_Line = tuple[str, str, str, str]
"""Field of a reading, what it is called, its unit, and the field of its limit."""
_OF_A_CARD: tuple[_Line, ...] = (
    ("temperature_c", noop("GPU temperature"), "°C", "slowdown_c"),
    ("power_w", noop("GPU power"), "W", "power_limit_w"),
    ("memory_used", noop("GPU memory, all programs"), "B", "memory_total"),
    ("utilisation", noop("GPU use"), "%", ""), ("clock_mhz", noop("GPU clock"), "MHz", ""),
    ("fan_percent", noop("GPU fan"), "%", ""),
)
_OTHERS: tuple[_Line, ...] = (
    ("temperature_c", noop("Processor temperature"), "°C", "limit_c"),
    ("process_memory", noop("Main memory of the worker"), "B", ""),
    ("cpu_percent", noop("Processor use of the worker (100% is one core)"), "%", ""),
)


def _write(value: float, unit: str) -> str:
    return format_bytes(value) if unit == "B" else format_reading(value, unit)
