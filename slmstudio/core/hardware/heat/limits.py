"""Which of the machine's temperatures is nearest to its limit, and what that limit is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from slmstudio.core.hardware.guard import ASSUMED_SLOWDOWN_C
from slmstudio.core.hardware.readings import MachineReading
from slmstudio.core.i18n import tr

MARGIN_C = 5
"""Degrees below the temperature at which a part slows itself down."""
HELD_BELOW_C = 5
"""Where a temperature is held, pauses begin this many degrees above it."""
HELD_BELOW_OWN_C = 3
"""Without a chosen temperature, one is held this far below the limit for pauses that the part's own limit gives."""
ASSUMED_CPU_C = 95
"""For processors whose driver gives no limit: most slow down between 95 and 105 °C, as their data sheets say."""


@dataclass(frozen=True, slots=True)
class Heat:
    """One temperature with its limit.

    Attributes:
        what: the part that it belongs to.
        limit_c: where work must pause.
        index: the driver's number of the card; None for the processor.
    """

    what: Literal["gpu", "memory", "cpu"]
    temperature_c: float
    limit_c: float
    index: int | None = None

    @property
    def room(self) -> float:
        """Degrees below the limit; negative above it."""
        return self.limit_c - self.temperature_c

    @property
    def name(self) -> str:
        if self.what == "cpu":
            return tr("The processor")
        if self.what == "memory":
            return (tr("The memory of GPU {index}", index=self.index) if self.index else
                    tr("The GPU's memory"))
        return tr("GPU {index}", index=self.index) if self.index else tr("The GPU")


def heats(reading: MachineReading, chosen_c: float | None = None, hold: bool = False, on_cpu: bool = False
          ) -> list[Heat]:
    """All temperatures that count, each beside its limit; empty if nothing reports one.

    Args:
        chosen_c: by a user, for the cards, or for the processor where that does the work; None takes the part's own
            limit less `MARGIN_C`, which the memory of a card always has, where it tells that.
        hold: whether that temperature is held, so that the limit for pauses is above it.
        on_cpu: whether the processor does the work: then cards don't count, since they may be busy with something else.
            The processor also stands in where no card gives its temperature.
    """

    def limit(chosen: float | None, own: float) -> float:
        if chosen is not None:
            return chosen + HELD_BELOW_C if hold else chosen
        return own - MARGIN_C + (HELD_BELOW_C - HELD_BELOW_OWN_C if hold else 0)

    found = []
    for gpu in (gpu for gpu in reading.gpus if not (on_cpu or gpu.lost)):
        if gpu.temperature_c is not None:
            own = gpu.slowdown_c or ASSUMED_SLOWDOWN_C
            found.append(Heat("gpu", gpu.temperature_c, limit(chosen_c, own), gpu.index))
        if gpu.memory_temperature_c is not None and gpu.memory_limit_c is not None:
            found.append(Heat("memory", gpu.memory_temperature_c, limit(None, gpu.memory_limit_c), gpu.index))
    cpu = reading.cpu
    if not found and cpu.temperature_c is not None:
        found.append(Heat("cpu", cpu.temperature_c, limit(chosen_c, cpu.limit_c or ASSUMED_CPU_C)))
    return found


def hottest(reading: MachineReading, chosen_c: float | None = None, hold: bool = False, on_cpu: bool = False
            ) -> Heat | None:
    """Of `heats`, the temperature that is nearest to its limit; None if nothing tells one."""
    return min(heats(reading, chosen_c, hold, on_cpu), key=lambda heat: heat.room, default=None)
