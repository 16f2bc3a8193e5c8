"""Looks at the whole machine, as often as it is asked: cards, processor, memory, disk, battery. Every value may be
absent."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from slmstudio.core import disk_space
from slmstudio.core.files import objects
from slmstudio.core.hardware.linux_sensors import Battery, ProcessorSensors, processor_energy, read_battery
from slmstudio.core.hardware.machine import Gpu, Machine
from slmstudio.core.hardware.nvml import GpuMonitor, GpuReading


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
        """These names, and of a card and the processor what is known: what a `sensors` event holds of it."""
        return {**asdict(self), "gpus": [_lean(gpu) for gpu in self.gpus], "cpu": _lean(self.cpu)}

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> MachineReading:
        """The reading that a `sensors` event holds. What isn't of the expected shape counts as not said."""
        cpu, battery = event.get("cpu"), event.get("battery")
        return cls(
            tuple(_made(GpuReading, {"index": number, "name": "", **card})
                  for number, card in enumerate(cards_of(event))),
            _made(CpuReading, cpu) if isinstance(cpu, dict) else CpuReading(),
            event.get("memory_used"), event.get("memory_total"), event.get("disk_free"),
            None if not isinstance(battery, dict) or "percent" not in battery
            else _made(Battery, {"plugged": None, **battery}))


def cards_of(event: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All cards of a `sensors` event, as it holds them."""
    return objects(event.get("gpus"))


def _lean(reading: GpuReading | CpuReading) -> dict[str, Any]:
    """Its values, without those that say nothing: events are written once a second, for days."""
    return {name: value for name, value in asdict(reading).items()
            if value is not None and value is not False and value != ""}


def _made(kind: type[Any], values: Mapping[str, Any]) -> Any:
    known = {field.name for field in fields(kind)}
    return kind(**{name: tuple(value) if isinstance(value, list) else value
                   for name, value in values.items() if name in known})


SLOW_SECONDS = 5.0
"""Battery and disk are asked this often: a firmware may take its time, and neither changes faster."""

NOTICEABLE = 0.03
"""Share of a memory by which what is free must change, before what rests on it is computed again."""


class MachineReader:
    """Reads what it can; what the machine doesn't say is None. For one thread.

    Args:
        monitors: of the cards to read; they are this reader's to close.
        folder: where the run is, for the room on its disk.
    """

    def __init__(self, monitors: Sequence[GpuMonitor] = (), folder: Path | None = None):
        self.monitors = tuple(monitors)
        self._folder, self._processor = folder, ProcessorSensors()
        self._times = _busy_and_all()
        self._slow: tuple[int | None, Battery | None] = (None, None)
        self._next_slow = 0.0

    def read(self) -> MachineReading:
        """One reading. A card that went away is a reading with `lost`."""
        if (now := time.monotonic()) >= self._next_slow:
            self._next_slow = now + SLOW_SECONDS
            self._slow = self._disk_free(), read_battery()
        return MachineReading(tuple(monitor.read() for monitor in self.monitors), self._cpu(), *_memory(), *self._slow)

    def close(self) -> None:
        """Let the cards' driver go."""
        for monitor in self.monitors:
            monitor.close()

    def _cpu(self) -> CpuReading:
        before, self._times = self._times, _busy_and_all()
        busy, passed = (now - then for now, then in zip(self._times, before, strict=True))
        clock = self._processor.clock_mhz()
        return CpuReading(self._processor.temperature_c(), self._processor.limit_c,
                          round(min(100.0, 100 * busy / passed), 1) if passed > 0 else None,
                          None if clock is None else round(clock), *processor_energy())

    def _disk_free(self) -> int | None:
        try:
            return disk_space.free(self._folder) if self._folder else None
        except OSError:
            return None


def with_memory(machine: Machine, reading: MachineReading) -> Machine:
    """The machine with as much memory free as a later reading says; the same object where little has changed."""
    ram_total, used = reading.memory_total, reading.memory_used
    ram_free = machine.ram_free if ram_total is None or used is None else ram_total - used
    by_index = {gpu.index: gpu for gpu in reading.gpus}
    gpus = tuple(_with_memory(gpu, by_index.get(gpu.index)) for gpu in machine.gpus)
    pairs = [(machine.ram_free, ram_free, machine.ram_total), *(
        (before.memory_free, now.memory_free, now.memory_total)
        for before, now in zip(machine.gpus, gpus, strict=True))]
    if all(before is None or now is None or not total or abs(now - before) < NOTICEABLE * total
           for before, now, total in pairs):
        return machine
    return replace(machine, ram_free=ram_free, gpus=gpus)


def _with_memory(gpu: Gpu, reading: GpuReading | None) -> Gpu:
    if reading is None or reading.memory_total is None or reading.memory_used is None:
        return gpu
    return replace(gpu, memory_free=reading.memory_total - reading.memory_used)


def _memory() -> tuple[int | None, int | None]:
    import psutil

    try:
        memory = psutil.virtual_memory()
    except OSError:
        return None, None
    return memory.total - memory.available, memory.total


def _busy_and_all() -> tuple[float, float]:
    """Seconds that the cores worked, and that passed for all of them, since the machine was started.

    psutil's own `cpu_percent` keeps what came before for each thread, so that a new thread begins with 0%.
    """
    import psutil

    try:
        times = psutil.cpu_times()
    except OSError:
        return 0.0, 0.0
    # Linux counts the guests' time within the user's (man 5 proc).
    passed = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    return passed - times.idle - getattr(times, "iowait", 0.0), passed
