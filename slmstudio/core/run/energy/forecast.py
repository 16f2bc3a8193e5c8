"""What a run is likely to draw, before it begins: by what runs drew on this machine, else by its parts."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from slmstudio.core.hardware.linux_sensors import read_battery
from slmstudio.core.hardware.machine import Machine, visible
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.energy import energy_use
from slmstudio.core.run.energy.energy_use import KWH

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
        energy_use.GPU_SHARE, energy_use.GPU_LOW, energy_use.GPU_HIGH))
    return Forecast(watts, low, high, ESTIMATE, seconds)


def _rest(machine: Machine, load: float) -> float:
    """Watts of processor and memory at the socket."""
    return _at_the_socket(energy_use.processor_watts(machine.physical_cores, load, read_battery() is not None)
                          + energy_use.memory_watts(machine.ram_total))


def _at_the_socket(watts: float) -> float:
    return watts + energy_use.supply_loss(watts)
