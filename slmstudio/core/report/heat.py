"""Heat, load and memory of a run, as far as a sensor said them; nothing is guessed."""

from __future__ import annotations

import math

from slmstudio.core.i18n import noop, tr
from slmstudio.core.report.text import Table, exact
from slmstudio.core.run.curves import CPU_LIMIT, CPU_TEMPERATURE, MachineCurves, Series, of_card
from slmstudio.core.units import format_bytes, format_reading


def gpu_names(machine: MachineCurves) -> list[str]:
    """The cards that were read."""
    return [name or tr("an NVIDIA GPU") for name in machine.names]


def table(machine: MachineCurves) -> Table | None:
    """One line a reading: lowest, mean, highest, and its limit; None if there are no readings."""
    rows = []
    numbered = sorted((number, place) for place, (number, _) in enumerate(machine.cards))
    lines: list[tuple[int | None, int, _Line]] = [
        (number, place, line) for number, place in numbered for line in _OF_A_CARD]
    for number, place, (name, label, unit, limit) in (*lines, *((None, 0, line) for line in _OTHERS)):
        values = (machine.series.get(of_card(name, place)) or Series()).y
        if not values:
            continue
        label = tr(label)
        if len(numbered) > 1 and number is not None:
            label = tr("{reading}, card {index}", reading=label, index=number)
        cells = [_write(value, unit) for value in (min(values), math.fsum(values) / len(values), max(values))]
        bound = machine.limits.get(of_card(limit, place))
        rows.append((label, *cells, None if bound is None else _write(bound, unit), exact(len(values))))
    return Table((tr("Reading"), tr("Lowest"), tr("Mean"), tr("Highest"), tr("Limit"), tr("Readings")), "lrrrrr",
                 rows) if rows else None


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
    (CPU_TEMPERATURE, noop("Processor temperature"), "°C", CPU_LIMIT),
    ("process_memory", noop("Main memory of the worker"), "B", ""),
    ("cpu_percent", noop("Processor use of the worker (100% is one core)"), "%", ""),
)


def _write(value: float, unit: str) -> str:
    return format_bytes(value) if unit == "B" else format_reading(value, unit)
