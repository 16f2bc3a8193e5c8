"""What was drawn, by part, and how each part is known."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

from slmstudio.core.i18n import noop, tr

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
