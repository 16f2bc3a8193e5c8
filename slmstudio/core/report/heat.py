"""Heat, load and memory of a run, as far as a sensor said them; nothing is guessed."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from slmstudio.core.report.text import Table, exact, finite
from slmstudio.core.units import format_bytes


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
        ranges: by field of a reading.
        limits: slowdown_c, power_limit_w and memory_total, the newest ones.
        slowed_by: readings in which something held the clock down, by what.
    """

    gpus: Counter[str] = field(default_factory=Counter)
    ranges: dict[str, Range] = field(default_factory=dict)
    limits: dict[str, float] = field(default_factory=dict)
    slowed_by: Counter[str] = field(default_factory=Counter)

    def add(self, event: dict[str, Any]) -> None:
        gpu = event.get("gpu")
        reading: dict[str, Any] = gpu if isinstance(gpu, dict) else {}
        for name in ("temperature_c", "power_w", "memory_used", "utilisation", "clock_mhz", "fan_percent"):
            self._note(name, reading.get(name))
        for name in ("process_memory", "cpu_percent"):
            self._note(name, event.get(name))
        if not reading:
            return
        self.gpus[str(reading.get("name") or "an NVIDIA GPU")] += 1
        for name in ("slowdown_c", "power_limit_w", "memory_total"):
            if (value := finite(reading.get(name))) is not None:
                self.limits[name] = value
        for cause in reading.get("slowed_by") or ():
            self.slowed_by[str(cause)] += 1

    def _note(self, name: str, value: Any) -> None:
        number = finite(value)
        if number is not None:
            self.ranges.setdefault(name, Range()).add(number)

    def table(self) -> Table:
        """One line a reading: lowest, mean, highest, and its limit."""
        rows = []
        for name, label, unit, limit in _LINES:
            found = self.ranges.get(name)
            if found is None:
                continue
            cells = [_write(value, unit) for value in (found.low, found.mean, found.high)]
            bound = self.limits.get(limit)
            rows.append((label, *cells, None if bound is None else _write(bound, unit), exact(found.count)))
        return Table(("Reading", "Lowest", "Mean", "Highest", "Limit", "Readings"), "lrrrrr", rows)


_LINES = (
    ("temperature_c", "GPU temperature", "°C", "slowdown_c"), ("power_w", "GPU power", "W", "power_limit_w"),
    ("memory_used", "GPU memory, all programs", "B", "memory_total"), ("utilisation", "GPU busy", "%", ""),
    ("clock_mhz", "GPU clock", "MHz", ""), ("fan_percent", "GPU fan", "%", ""),
    ("process_memory", "Main memory of the worker", "B", ""),
    ("cpu_percent", "Processor use of the worker (100 % is one core)", "%", ""),
)


def _write(value: float, unit: str) -> str:
    return format_bytes(value) if unit == "B" else f"{value:,.0f} {unit}"
