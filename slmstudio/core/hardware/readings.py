"""One look at the whole machine: its cards, processor, memory, disk and battery. Every value may be absent."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from slmstudio.core.hardware.nvml import GpuReading


@dataclass(frozen=True, slots=True)
class CpuReading:
    """One look at the processor. None: the system doesn't say.

    Attributes:
        temperature_c: of the package, else the hottest core, in degrees Celsius.
        limit_c: the temperature at which the processor slows itself down, as its driver gives it.
        percent: load of all cores together, 0 to 100.
        clock_mhz: mean of the cores.
        energy_j: joules that the package has drawn (RAPL); a counter that may wrap at `energy_wraps_j`.
    """

    temperature_c: float | None = None
    limit_c: float | None = None
    percent: float | None = None
    clock_mhz: float | None = None
    energy_j: float | None = None
    energy_wraps_j: float | None = None


@dataclass(frozen=True, slots=True)
class Battery:
    """A laptop's battery.

    Attributes:
        percent: charge, 0 to 100.
        plugged: whether the mains feed it; None where the system doesn't say.
    """

    percent: float
    plugged: bool | None


@dataclass(frozen=True, slots=True)
class MachineReading:
    """One look at the machine.

    Attributes:
        gpus: the cards that were asked, in the order of torch's `cuda:N` where that is known.
        memory_used, memory_total: bytes of main memory.
        disk_free: bytes free where the run lies.
        battery: None without one.
    """

    gpus: tuple[GpuReading, ...] = ()
    cpu: CpuReading = CpuReading()
    memory_used: int | None = None
    memory_total: int | None = None
    disk_free: int | None = None
    battery: Battery | None = None

    def to_dict(self) -> dict[str, Any]:
        """What a `sensors` event holds of it."""
        return asdict(self)
