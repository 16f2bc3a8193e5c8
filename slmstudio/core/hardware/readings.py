"""One look at the whole machine: its cards, processor, memory, disk and battery. Every value may be absent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from slmstudio.core.hardware.nvml import GpuReading

NEW_FIELDS = frozenset({"uuid", "memory_temperature_c", "shutdown_c", "graphics_clock_mhz", "memory_clock_mhz",
                        "memory_utilisation", "memory_limit_c"})
"""Fields of a card that versions which read only `gpu` don't know."""


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
        plugged: whether the mains feed it; None if the system doesn't say.
    """

    percent: float
    plugged: bool | None


@dataclass(frozen=True, slots=True)
class MachineReading:
    """One look at the machine.

    Attributes:
        gpus: the cards that were asked, in the order of torch's `cuda:N` where that is known.
        disk_free: bytes free where the run is.
        battery: None without one.
    """

    gpus: tuple[GpuReading, ...] = ()
    cpu: CpuReading = CpuReading()
    memory_used: int | None = None
    memory_total: int | None = None
    disk_free: int | None = None
    battery: Battery | None = None

    def to_dict(self) -> dict[str, Any]:
        """These names, and of a card and the processor what is known."""
        return {**asdict(self), "gpus": [_lean(gpu) for gpu in self.gpus], "cpu": _lean(self.cpu)}

    def to_event(self) -> dict[str, Any]:
        """What a `sensors` event holds of it: `to_dict`, and the first card as `gpu`, as earlier versions read it."""
        first = _lean(self.gpus[0]) if self.gpus else None
        return {"gpu": first and {name: first[name] for name in first if name not in NEW_FIELDS}, **self.to_dict()}

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> MachineReading:
        """The reading that a `sensors` event holds. Those of old runs have only the first card, as `gpu`.

        What isn't of the expected shape counts as not said.
        """
        cpu, battery = event.get("cpu"), event.get("battery")
        return cls(
            tuple(_made(GpuReading, {"index": number, "name": "", **card})
                  for number, card in enumerate(cards_of(event))),
            _made(CpuReading, cpu) if isinstance(cpu, dict) else CpuReading(),
            event.get("memory_used"), event.get("memory_total"), event.get("disk_free"),
            None if not isinstance(battery, dict) or "percent" not in battery
            else _made(Battery, {"plugged": None, **battery}))


def cards_of(event: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All cards of a `sensors` event, as it holds them; those of old runs have the first alone, as `gpu`."""
    cards = event.get("gpus")
    return [card for card in (cards if isinstance(cards, list) else [event.get("gpu")]) if isinstance(card, dict)]


def _lean(reading: GpuReading | CpuReading) -> dict[str, Any]:
    """Its values, without those that say nothing: events are written once a second, for days."""
    return {name: value for name, value in asdict(reading).items()
            if value is not None and value is not False and value != ""}


def _made(kind: type[Any], values: Mapping[str, Any]) -> Any:
    known = {field.name for field in fields(kind)}
    return kind(**{name: tuple(value) if isinstance(value, list) else value
                   for name, value in values.items() if name in known})
