"""Integrates what a run's events say about power into energy, part by part.

Each card is counted by its own energy counter where it has one that agrees with the power it reports, else by its power
over time (trapezoidal rule). The processor is counted by RAPL, else estimated from its load. Nothing is counted between
two attempts and while the machine slept. Over gaps in which nobody read anything a card's counter alone is: its joules
are told, and left out of the mean power, because nothing else is known about that time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from slmstudio.core.files import an_object, finite, number
from slmstudio.core.hardware.readings import cards_of
from slmstudio.core.run.energy import use
from slmstudio.core.run.energy.use import CARDS, LOAD, MEMORY, PROCESSOR, SIZE, SUPPLY, EnergyUse, Part

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
            self._count(LOAD, span * use.processor_watts(self._cores, load, self._laptop))
        self._memory += span * use.memory_watts(number(event, "memory_total") or self._ram)

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
        return EnergyUse((*parts, Part(SUPPLY, use.supply_loss(drawn), SIZE)), self.seconds,
                         bridged + use.supply_loss(bridged))
