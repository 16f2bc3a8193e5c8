"""What was drawn, by part, and how each part is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from slmstudio.core.i18n import noop, tr

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
