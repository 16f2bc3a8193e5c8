"""Which of the machine's temperatures is nearest to its limit, and what that limit is."""

from __future__ import annotations

import math
import re
import sys
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Literal

from slmstudio.core.hardware import wsl
from slmstudio.core.hardware.guard import ASSUMED_SLOWDOWN_C
from slmstudio.core.hardware.nvml import GpuMonitor, GpuReading
from slmstudio.core.hardware.readings import MachineReading
from slmstudio.core.i18n import join_sentences, tr

# -- A lower power limit for a card that gets too hot: how many watts, and the command that sets them. It is never
# run.

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
    return PowerLimit(gpu.index, watts, gpu.power_limit_w, command, where, join_sentences(why, remedy))


def is_worth_it(pauses: int, slowed_seconds: float) -> bool:
    """Whether heat costs a run so much that a lower limit should be suggested.

    Args:
        pauses: for heat.
        slowed_seconds: in which a card slowed itself down because of heat.
    """
    return pauses >= LEAST_PAUSES or slowed_seconds >= LEAST_SLOWED_SECONDS


# -- The hours in which the machine may work, such as "22:00-06:00", by its own clock.

_FORM = re.compile(r"(\d{1,2})(?::(\d\d))?\s*[-–]\s*(\d{1,2})(?::(\d\d))?")
EXAMPLE = "22:00-06:00"


@dataclass(frozen=True, slots=True)
class Hours:
    """From one time of the day to another, which may be of the next day.

    Moments are local times without a zone, as `datetime.now()` gives them: what a clock on the wall shows decides, also
    on the days on which it is put forward or back.
    """

    start: time
    end: time

    @classmethod
    def parse(cls, text: str) -> Hours:
        """Raises ValueError: it isn't two different times of the day with a hyphen between them."""
        found = _FORM.fullmatch(text.strip())
        if found is None:
            raise ValueError(text)
        start, end = (time() if (hour, minute or "00") == ("24", "00") else time(int(hour), int(minute or 0))
                      for hour, minute in ((found[1], found[2]), (found[3], found[4])))
        if start == end:
            raise ValueError(text)
        return cls(start, end)

    def __str__(self) -> str:
        return f"{self.start:%H:%M}-{self.end:%H:%M}"

    def include(self, moment: datetime) -> bool:
        """Whether the machine may work then. The end isn't included."""
        now = moment.time()
        if self.start < self.end:
            return self.start <= now < self.end
        return now >= self.start or now < self.end

    def next_start(self, moment: datetime) -> datetime:
        """When they begin after `moment`."""
        start = datetime.combine(moment.date(), self.start)
        return start if start > moment else start + timedelta(days=1)

    def seconds_until_done(self, moment: datetime, work_seconds: float) -> float:
        """How long this much work takes from `moment` on, when only these hours are worked in.

        A day is taken as 24 hours long, which an estimate may do.
        """
        start = moment if self.include(moment) else self.next_start(moment)
        end = datetime.combine(start.date(), self.end)
        first = ((end if end > start else end + timedelta(days=1)) - start).total_seconds()
        if work_seconds <= first:
            return (start - moment).total_seconds() + work_seconds
        length = (end - datetime.combine(start.date(), self.start)) % timedelta(days=1)
        nights, rest = divmod(work_seconds - first, length.total_seconds())
        if not rest:  # it ends as the hours do, and waits for no further night
            nights, rest = nights - 1, length.total_seconds()
        last = self.next_start(start) + timedelta(days=nights)
        return (last - moment).total_seconds() + rest


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
