"""Integrates what a run's events say about power into energy, part by part.

Each card is counted by its own energy counter where it has one that agrees with the power it reports, else by its power
over time (trapezoidal rule). The processor is counted by RAPL, else estimated from its load. Nothing is counted between
two attempts and while the machine slept. Over gaps in which nobody read anything a card's counter alone is: its joules
are told, and left out of the mean power, because nothing else is known about that time.
"""

from __future__ import annotations

import math
import statistics
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from slmstudio.core.files import an_object, finite, number
from slmstudio.core.hardware.linux_sensors import read_battery
from slmstudio.core.hardware.machine import Machine, visible
from slmstudio.core.hardware.readings import cards_of
from slmstudio.core.i18n import noop, tr
from slmstudio.core.run.config import RunConfig

# -- What was drawn, by part, and how each part is known.

# -- Watts of the parts that no sensor tells, each with its source, or said to be an assumption. docs/energy.md says
# what is left out.

DESKTOP_CORE_W, LAPTOP_CORE_W = 12.0, 4.0
"""Design power of a core. 12 W: "Any" in Green Algorithms' list (TDP_cpu.csv; Lannelongue, Grealey & Inouye 2021,
doi:10.1002/advs.202100707). 4 W: an assumption, from the Ryzen 5 3500U of that list (15 W for 4 cores)."""
LOAD_CURVE = ((0.0, 0.12), (0.1, 0.32), (0.5, 0.75), (1.0, 1.02))
"""Share of the design power at a share of the load: mean of many servers, measured by Teads Engineering (Davy 2021,
"Estimating AWS EC2 instances power consumption")."""
_LOADS = [load for load, _ in LOAD_CURVE]
MEMORY_W_PER_GB = 0.3725
"""For each GB that is installed: Green Algorithms up to version 2.2 (referenceValues.csv). Its newer table says 0.08,
from one of the two sources of the older figure, so this is rather too much."""
SUPPLY_EFFICIENCY = 0.85
"""What 80 PLUS Bronze requires of a power supply at half load (115 V). That a machine has such a supply, or a laptop
an equally good adapter, is an assumption."""
GPU_SHARE, GPU_LOW, GPU_HIGH = 0.75, 0.45, 1.0
"""The share of its power limit that a card draws while it trains. An assumption: small models leave it waiting, others
keep it at its limit. After the first run, what runs on this machine drew is used instead."""


def processor_watts(cores: int, load: float, laptop: bool = False) -> float:
    """Watts of a processor.

    Args:
        load: of all cores together, 0 to 1.
    """
    load = min(max(load, 0.0), 1.0)
    upper = min(bisect_right(_LOADS, load), len(LOAD_CURVE) - 1)
    (left, low), (right, high) = LOAD_CURVE[upper - 1], LOAD_CURVE[upper]
    share = low + (high - low) * (load - left) / (right - left)
    return cores * (LAPTOP_CORE_W if laptop else DESKTOP_CORE_W) * share


def memory_watts(installed: float) -> float:
    """Watts that main memory of this size draws; the size in bytes."""
    return installed / 1024**3 * MEMORY_W_PER_GB


def supply_loss(drawn: float) -> float:
    """What the power supply loses while the parts behind it draw `drawn`; watts or joules."""
    return drawn * (1 / SUPPLY_EFFICIENCY - 1)


CARDS, PROCESSOR, MEMORY, SUPPLY = "cards", "processor", "memory", "power supply"
LOAD, SIZE = "load", "size"
MEASURED = frozenset({"counter", "power", "rapl"})
NAMES = {CARDS: noop("Cards"), PROCESSOR: noop("Processor"), MEMORY: noop("Memory"), SUPPLY: noop("Power supply")}
HOW = {"counter": noop("measured by the cards' own counters"), "power": noop("the cards' power, added up over time"),
       "rapl": noop("measured by the processor's own counter (RAPL)"),
       LOAD: noop("estimated from the load and the number of cores"), SIZE: noop("estimated")}
KWH = 3.6e6
"""Joules of a kilowatt-hour."""


@dataclass(frozen=True)
class Part:
    """A part of the machine.

    Attributes:
        name: `CARDS`, `PROCESSOR`, `MEMORY`, or `SUPPLY`: what the power supply loses.
        how: it is known: a key of `HOW`.
    """

    name: str
    joules: float
    how: str

    @property
    def label(self) -> str:
        return tr(NAMES[self.name])

    @property
    def basis(self) -> str:
        return tr(HOW[self.how])

    @property
    def measured(self) -> bool:
        return self.how in MEASURED


@dataclass(frozen=True)
class EnergyUse:
    """What a run drew.

    Attributes:
        parts: a part that is known in two ways, each for some of the time, is in it twice.
        seconds: in which something was read.
        bridged: joules, at the socket, of gaps between: a card's counter kept counting.
    """

    parts: tuple[Part, ...]
    seconds: float
    bridged: float = 0.0

    @property
    def joules(self) -> float:
        """All parts together, at the socket."""
        return sum(part.joules for part in self.parts)

    @property
    def measured(self) -> float:
        """Joules that a sensor counted; the rest is estimated."""
        return sum(part.joules for part in self.parts if part.measured)

    @property
    def watts(self) -> float | None:
        """Mean over the time with readings; None if there were none."""
        return (self.joules - self.bridged) / self.seconds if self.seconds > 0 else None

    def of(self, name: str) -> float | None:
        """Joules of one part; None if nothing is known about it."""
        found = [part.joules for part in self.parts if part.name == name]
        return sum(found) if found else None

    def to_dict(self) -> dict[str, Any]:
        """In kilowatt-hours, as in the terminal's JSON."""
        return {"kwh": self.joules / KWH, "measured_kwh": self.measured / KWH, "seconds": self.seconds,
                "parts": [{"part": part.name, "kwh": part.joules / KWH, "how": part.how, "measured": part.measured}
                          for part in self.parts]}


LONGEST_GAP = 10.0
"""Seconds between two readings above which the power between them isn't known."""
TOLERANCE = 0.25
"""A card's counter and its power may differ by this share, because power is reported as a mean of the last moments on
some cards and sampled in a part of the time on others (Yang, Adamek & Armour 2023, arXiv:2312.02741). Beyond this, the
counter counts something else, or has stopped."""
MOST_WATTS = 3000.0
"""No card and no processor draws more: a counter that rises faster has jumped."""


@dataclass
class _Counter:
    """Joules of one counter that only rises, wraps or starts again."""

    last: tuple[float, float] | None = None

    def add(self, time: float, value: float | None, wraps: float | None = None) -> float | None:
        """Joules since the reading before; None if they aren't known."""
        before, self.last = self.last, None if value is None else (time, value)
        if before is None or value is None or time <= before[0]:
            return None
        rise = value - before[1]
        if rise < 0 and wraps is not None:
            rise += wraps
        return rise if 0 <= rise <= MOST_WATTS * (time - before[0]) else None


@dataclass
class _Card:
    """One card, counted in both ways.

    Attributes:
        both: joules by counter and by power over the moments that both tell.
        counted, summed: joules of the moments that only one of them tells.
        bridged: joules by counter over gaps; a part of `counted`.
    """

    both: tuple[float, float] = (0.0, 0.0)
    counted: float = 0.0
    summed: float = 0.0
    bridged: float = 0.0
    known: bool = False
    _counter: _Counter = field(default_factory=_Counter)
    _power: tuple[float, float] | None = None

    def add(self, time: float, power: float | None, energy: float | None) -> None:
        told, counted = self._counter.last, self._counter.add(time, energy)
        if told is not None and time - told[0] > LONGEST_GAP:
            self.bridged += counted or 0.0
        before, self._power = self._power, None if power is None else (time, power)
        summed = None
        if before is not None and power is not None and 0 < time - before[0] <= LONGEST_GAP:
            summed = (power + before[1]) / 2 * (time - before[0])
        if counted is not None and summed is not None:
            self.both = self.both[0] + counted, self.both[1] + summed
        else:
            self.counted += counted or 0.0
            self.summed += summed or 0.0
        self.known = self.known or counted is not None or summed is not None

    def stop(self) -> None:
        self._counter.last = self._power = None

    @property
    def agrees(self) -> bool:
        return abs(self.both[0] - self.both[1]) <= TOLERANCE * self.both[1]

    @property
    def joules(self) -> float:
        return self.both[0] + self.counted + self.summed if self.agrees else self.both[1] + self.summed

    @property
    def by_counter(self) -> bool:
        return self.agrees and self.both[0] + self.counted > 0


@dataclass
class EnergyMeter:
    """Takes all events of a run, in their order.

    Attributes:
        seconds: in which something was read, all attempts together.
    """

    seconds: float = 0.0
    _cards: dict[str, _Card] = field(default_factory=dict)
    _rapl: _Counter = field(default_factory=_Counter)
    _processor: dict[str, float] = field(default_factory=dict)
    _memory: float = 0.0
    _cores: int = 0
    _ram: float = 0.0
    _laptop: bool = False
    _time: float | None = None

    def add(self, event: dict[str, Any]) -> None:
        """Take one event. Unknown types, and fields of an unexpected kind, are passed over."""
        kind = event.get("type")
        if kind in ("job_started", "suspended"):
            self.stop()
        elif kind == "machine":
            self._cores, self._ram = int(number(event, "cores") or 0), number(event, "ram_total") or 0.0
        elif kind == "sensors" and (time := number(event, "time")) is not None:
            self.read(time, event, cards_of(event))

    def stop(self) -> None:
        """Nothing was read from here to the next reading."""
        self._time = self._rapl.last = None
        for card in self._cards.values():
            card.stop()

    def read(self, time: float, event: dict[str, Any], cards: list[dict[str, Any]]) -> None:
        """Take a `sensors` event and its cards, as `cards_of` gives them."""
        for place, reading in enumerate(cards):
            key = str(reading.get("uuid") or reading.get("index", place))
            if (card := self._cards.get(key)) is None:
                card = self._cards[key] = _Card()
            card.add(time, finite(reading.get("power_w")), finite(reading.get("energy_j")))
        before, self._time = self._time, time
        cpu = an_object(event.get("cpu"))
        counted = self._rapl.add(time, finite(cpu.get("energy_j")), finite(cpu.get("energy_wraps_j")))
        self._laptop = self._laptop or isinstance(event.get("battery"), dict)
        span = 0.0 if before is None else time - before
        if not 0 < span <= LONGEST_GAP:
            return
        self.seconds += span
        load = self._load(event, cpu)
        if counted is not None:
            self._count("rapl", counted)
        elif self._cores and load is not None:
            self._count(LOAD, span * processor_watts(self._cores, load, self._laptop))
        self._memory += span * memory_watts(number(event, "memory_total") or self._ram)

    def _load(self, event: dict[str, Any], cpu: dict[str, Any]) -> float | None:
        """The load of all cores since the previous reading, 0 to 1; the worker's own load if nothing more is known."""
        percent = number(cpu, "percent")
        if percent is not None:
            return percent / 100
        own = number(event, "cpu_percent")  # 100 is one core
        return None if own is None or not self._cores else own / 100 / self._cores

    def _count(self, how: str, joules: float) -> None:
        self._processor[how] = self._processor.get(how, 0.0) + joules

    @property
    def use(self) -> EnergyUse | None:
        """What was drawn so far; None while nothing is known."""
        known = [card for card in self._cards.values() if card.known]
        parts = [Part(CARDS, sum(card.joules for card in known if card.by_counter is counter), how)
                 for counter, how in ((True, "counter"), (False, "power"))
                 if any(card.by_counter is counter for card in known)]
        parts += [Part(PROCESSOR, joules, how) for how, joules in self._processor.items()]
        if not parts:
            return None
        if self._memory:
            parts.append(Part(MEMORY, self._memory, SIZE))
        drawn = sum(part.joules for part in parts)
        bridged = sum(card.bridged for card in known if card.by_counter)
        return EnergyUse((*parts, Part(SUPPLY, supply_loss(drawn), SIZE)), self.seconds,
                         bridged + supply_loss(bridged))


# -- What a run is likely to draw, before it begins: by what runs drew on this machine, else by its parts.

SAME, MACHINE, ESTIMATE = "same", "machine", "estimate"
"""What a forecast rests on: runs with the same settings on this machine, other runs on it, or its parts alone."""
SPREAD = {SAME: 0.1, MACHINE: 0.3}
"""By this share a run may draw less or more than what was measured."""


@dataclass(frozen=True)
class Forecast:
    """What a run is likely to draw.

    Attributes:
        watts, low, high: at the socket, mean of the run: the likely figure and its range.
        basis: `SAME`, `MACHINE` or `ESTIMATE`.
        seconds: how long the run takes; None if no step of it, or of a run with the same settings, was measured.
    """

    watts: float
    low: float
    high: float
    basis: str
    seconds: float | None

    @property
    def joules(self) -> float | None:
        """The energy of the whole run; None when it isn't known how long it takes."""
        return None if self.seconds is None else self.watts * self.seconds

    def to_dict(self) -> dict[str, Any]:
        return {"watts": self.watts, "low_watts": self.low, "high_watts": self.high, "basis": self.basis,
                "seconds": self.seconds, "kwh": None if self.joules is None else self.joules / KWH}


def forecast(config: RunConfig, machine: Machine, on_gpu: bool, seconds: float | None, drawn: Sequence[float],
             basis: str) -> Forecast | None:
    """What a run is likely to draw; None if a card doesn't tell its power limit and nothing was measured.

    Args:
        drawn: mean watts of earlier runs on this machine; empty if none was measured.
        basis: how much these runs are like this one: `SAME` or `MACHINE`.
    """
    if drawn:
        watts, spread = statistics.median(drawn), SPREAD[basis]
        return Forecast(watts, min(*drawn, watts * (1 - spread)), max(*drawn, watts * (1 + spread)), basis, seconds)
    if not on_gpu:
        full = _rest(machine, (config.threads or machine.physical_cores) / machine.physical_cores)
        return Forecast(full, 0.5 * full, 1.5 * full, ESTIMATE, seconds)  # design powers of a core differ that much
    limits = [gpu.power_limit_w for gpu in (visible(machine.gpus) or machine.gpus)[:config.processes]]
    limit = math.fsum(watts for watts in limits if watts is not None)
    if None in limits:
        return None
    rest = _rest(machine, 1 / machine.physical_cores)  # one core feeds the card
    watts, low, high = (_at_the_socket(limit * share) + rest for share in (
        GPU_SHARE, GPU_LOW, GPU_HIGH))
    return Forecast(watts, low, high, ESTIMATE, seconds)


def _rest(machine: Machine, load: float) -> float:
    """Watts of processor and memory at the socket."""
    return _at_the_socket(processor_watts(machine.physical_cores, load, read_battery() is not None)
                          + memory_watts(machine.ram_total))


def _at_the_socket(watts: float) -> float:
    return watts + supply_loss(watts)
