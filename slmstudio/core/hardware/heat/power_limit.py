"""A lower power limit for a card that gets too hot: how many watts, and the command that sets them. It is never run."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

from slmstudio.core.hardware import wsl
from slmstudio.core.hardware.nvml import GpuMonitor, GpuReading
from slmstudio.core.i18n import together, tr

SHARE = 0.8
"""The share of the present limit that is suggested. Four RTX 3090 at 280 of 350 W trained at over 95% of full speed
(Puget Systems, "Quad RTX3090 GPU Wattage Limited MaxQ TensorFlow Performance", 2020)."""
LEAST_PAUSES, LEAST_SLOWED_SECONDS = 3, 60.0
"""A lower limit is worth a word after this many pauses for heat, or when heat slowed the card down for this long."""


@dataclass(frozen=True, slots=True)
class PowerLimit:
    """A suggestion.

    Attributes:
        index: the driver's number of the card, as nvidia-smi counts too.
        watts: the limit that is suggested; `now_w` is the present one.
        command: to be typed as `where` says.
    """

    index: int
    watts: int
    now_w: float
    command: str
    where: str
    message: str


def suggest_now(gpu: GpuReading) -> PowerLimit | None:
    """As `suggest`, for a card of this machine, which is asked how low its limit may be."""
    monitor, _ = GpuMonitor.open(gpu.index)
    if monitor is None:
        return None
    with monitor:
        return suggest(gpu, monitor.least_power_limit())


def suggest(gpu: GpuReading, least_w: float | None, system: str = sys.platform, in_wsl: bool | None = None
            ) -> PowerLimit | None:
    """A lower limit for this card; None if it doesn't say its limit, or takes none that is lower.

    Args:
        least_w: the lowest limit that the card takes; None if it doesn't say.
        system: as `sys.platform` names it.
        in_wsl: whether this is Linux inside Windows; None finds out.
    """
    if gpu.power_limit_w is None or gpu.lost:
        return None
    watts = math.ceil(max(SHARE * gpu.power_limit_w, least_w or 0.0))
    if watts >= gpu.power_limit_w - 1:
        return None
    command = f"nvidia-smi -i {gpu.index} -pl {watts}"
    if system == "win32":
        where = tr("in a terminal opened as administrator")
        remedy = tr("In a terminal opened as administrator, type: {command} (it lasts until the next restart; some "
                    "laptops refuse it).", command=command)
    elif wsl.is_wsl() if in_wsl is None else in_wsl:
        where = tr("in Windows, in a terminal opened as administrator")
        remedy = tr("In Windows, in a terminal opened as administrator, type: {command} (it lasts until the next "
                    "restart; some laptops refuse it).", command=command)
    else:
        command, where = f"sudo {command}", tr("in a terminal")
        remedy = tr("In a terminal, type: {command} (it lasts until the next restart; some laptops refuse it).",
                    command=command)
    why = tr("A lower power limit keeps {gpu} cooler and costs little speed: {watts} W instead of {now:.0f} W.",
             gpu=gpu.name, watts=watts, now=gpu.power_limit_w)
    return PowerLimit(gpu.index, watts, gpu.power_limit_w, command, where, together(why, remedy))


def is_worth_it(pauses: int, slowed_seconds: float) -> bool:
    """Whether heat costs a run so much that a lower limit should be suggested.

    Args:
        pauses: for heat.
        slowed_seconds: in which a card slowed itself down because of heat.
    """
    return pauses >= LEAST_PAUSES or slowed_seconds >= LEAST_SLOWED_SECONDS
