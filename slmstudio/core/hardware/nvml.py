"""What an NVIDIA card says about itself: temperature, power, memory, load.

Cards and drivers differ in what they answer (WSL2 and laptops lack some queries), so every reading is optional.

Cards are counted as the driver counts them, by PCI address; `machine` has those that training may use, in its
order.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from slmstudio.core.i18n import noop, tr

# -- Asking NVIDIA's library: one question at a time, and what its errors mean in words.

NO_DRIVER = noop("No NVIDIA driver was found on this machine.")
NO_GPU = noop("The NVIDIA driver is installed, but it sees no GPU. Check that the card sits firmly and has power, or "
              "that the laptop's graphics settings switch it on.")
LOST = noop("The GPU no longer answers. Restart the machine; if it happens again, check the card's power cables and "
            "cooling, and update the driver.")
DRIVER_GONE = noop("The NVIDIA driver was stopped or replaced. Restart the machine.")
NOT_LOADED = noop("The NVIDIA driver is installed but not loaded. Restart the machine; if that doesn't help, install "
                  "the driver again.")
UPDATED = noop("The NVIDIA driver was updated, and its old version is still loaded. Restart the machine.")
NO_ACCESS = noop("This user account may not use the NVIDIA driver. Ask an administrator for access to the GPU.")


class GpuGone(Exception):
    """The card or its driver went away while it was being read."""


def binding() -> ModuleType:
    """pynvml, loaded when a card is first asked for: no window waits for it."""
    return importlib.import_module("pynvml")


def ask(query: Callable[..., Any], *arguments: Any) -> Any:
    """The answer to one query; None if the card, the driver or the permission is missing for it.

    Raises:
        GpuGone: nothing else will be answered either.
    """
    pynvml = binding()
    try:
        return query(*arguments)
    except pynvml.NVMLError as error:
        if error.value in (pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED):
            raise GpuGone(tr(LOST)) from error
        if error.value in (pynvml.NVML_ERROR_UNINITIALIZED, pynvml.NVML_ERROR_DRIVER_NOT_LOADED):
            raise GpuGone(tr(DRIVER_GONE)) from error
        return None


def explain(error: Any) -> str:
    pynvml = binding()
    known = {
        pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: NO_DRIVER,
        pynvml.NVML_ERROR_DRIVER_NOT_LOADED: NOT_LOADED,
        pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: UPDATED,
        pynvml.NVML_ERROR_NO_PERMISSION: NO_ACCESS,
        pynvml.NVML_ERROR_GPU_NOT_FOUND: NO_GPU,
        pynvml.NVML_ERROR_GPU_IS_LOST: LOST,
        pynvml.NVML_ERROR_RESET_REQUIRED: LOST,
    }.get(error.value)
    if known is not None:
        return tr(known)
    return tr("The NVIDIA driver can't be queried: {message}. Update the driver.",
              message=str(error).rstrip("."))


@dataclass(frozen=True, slots=True)
class GpuReading:
    """One look at one card. None: the card or its driver doesn't say.

    Attributes:
        index: the driver's number of the card, from 0.
        slowdown_c: the temperature at which the card slows itself down to protect itself.
        power_w, power_limit_w: watts drawn, and at most allowed.
        energy_j: joules drawn since the driver was loaded.
        memory_used, memory_total: bytes; used counts all programs and the driver's own share.
        utilisation: percent of the time in which the card was busy.
        clock_mhz: clock of its processors.
        fan_percent: intended fan speed; passively cooled cards and many laptops have none.
        slowed_by: what holds the clock down now: "heat", "power limit", "power supply", "hardware protection".
        lost: the card no longer answers; `message` says so in a sentence.
        uuid: "GPU-…", the same whoever counts the cards.
        memory_temperature_c: of the card's memory; few cards for desktops report it.
        memory_limit_c: the highest that this memory may have.
        shutdown_c: the temperature at which the card switches itself off.
        graphics_clock_mhz, memory_clock_mhz: clocks of the graphics units and of the memory.
        memory_utilisation: percent of the time in which the card's memory was read or written.
    """

    index: int
    name: str
    temperature_c: int | None = None
    slowdown_c: int | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    energy_j: float | None = None
    memory_used: int | None = None
    memory_total: int | None = None
    utilisation: int | None = None
    clock_mhz: int | None = None
    fan_percent: int | None = None
    slowed_by: tuple[str, ...] | None = None
    lost: bool = False
    message: str = ""
    uuid: str | None = None
    memory_temperature_c: int | None = None
    shutdown_c: int | None = None
    graphics_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    memory_utilisation: int | None = None
    memory_limit_c: int | None = None


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """A program that computes on a card.

    Attributes:
        memory: bytes of the card's memory that it holds; None if the driver doesn't say, as on Windows.
        name: the program's; "" if this user may not see it.
    """

    pid: int
    memory: int | None
    name: str


class GpuMonitor:
    """Reads one card for as long as it is open. Safe to use from any thread.

    Attributes:
        index: the driver's number of the card.
        name: as the driver gives it.
        uuid: "GPU-…"; None if the driver doesn't say.
        compute_capability: CUDA's number for the card's generation, (8, 6) for an RTX 3060.
        memory_total: bytes; None if the driver doesn't say.
    """

    def __init__(self, index: int, handle: Any):
        pynvml = binding()
        self.index = index
        self.uuid: str | None = ask(pynvml.nvmlDeviceGetUUID, handle)
        self.name: str = ask(pynvml.nvmlDeviceGetName, handle) or f"GPU {index}"
        self.compute_capability: tuple[int, int] | None = ask(pynvml.nvmlDeviceGetCudaComputeCapability, handle)
        memory = ask(pynvml.nvmlDeviceGetMemoryInfo, handle)
        self.memory_total: int | None = memory.total if memory else None
        self._handle = handle
        self._open = True

    @classmethod
    def open(cls, index: int = 0) -> tuple[GpuMonitor | None, str]:
        """The monitor of card `index` and "", or None and the reason in a sentence."""
        pynvml = binding()
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            return None, explain(error)
        try:
            count = pynvml.nvmlDeviceGetCount()
            if index < count:
                return cls(index, pynvml.nvmlDeviceGetHandleByIndex(index)), ""
            reason = tr("There is no GPU {index}; the driver sees {count}, counted from 0.", index=index,
                        count=count) if count else tr(NO_GPU)
        except pynvml.NVMLError as error:
            reason = explain(error)
        except GpuGone as gone:
            reason = str(gone)
        _let_go()
        return None, reason

    def close(self) -> None:
        """Let the driver go. Closing twice does nothing."""
        if self._open:
            self._open = False
            _let_go()

    def __enter__(self) -> GpuMonitor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self) -> GpuReading:
        """Ask the card for everything it answers. Never raises: a card that went away is a reading with `lost`."""
        pynvml, card = binding(), self._handle
        try:
            temperature, of_memory = self._temperature(), self._memory_temperature()
            memory = ask(pynvml.nvmlDeviceGetMemoryInfo, card)
            load = ask(pynvml.nvmlDeviceGetUtilizationRates, card)
            return GpuReading(
                self.index, self.name,
                temperature_c=temperature,
                slowdown_c=self._slowdown(temperature),
                power_w=_thousandth(ask(pynvml.nvmlDeviceGetPowerUsage, card)),
                power_limit_w=_thousandth(ask(pynvml.nvmlDeviceGetEnforcedPowerLimit, card)),
                energy_j=_thousandth(ask(pynvml.nvmlDeviceGetTotalEnergyConsumption, card)),
                memory_used=memory.used if memory else None,
                memory_total=memory.total if memory else None,
                utilisation=load.gpu if load else None,
                clock_mhz=ask(pynvml.nvmlDeviceGetClockInfo, card, pynvml.NVML_CLOCK_SM),
                fan_percent=ask(pynvml.nvmlDeviceGetFanSpeed, card),
                slowed_by=self._slowed_by(),
                uuid=self.uuid,
                memory_temperature_c=of_memory,
                shutdown_c=self._threshold(pynvml.NVML_TEMPERATURE_THRESHOLD_SHUTDOWN),
                graphics_clock_mhz=ask(pynvml.nvmlDeviceGetClockInfo, card, pynvml.NVML_CLOCK_GRAPHICS),
                memory_clock_mhz=ask(pynvml.nvmlDeviceGetClockInfo, card, pynvml.NVML_CLOCK_MEM),
                memory_utilisation=load.memory if load else None,
                memory_limit_c=self._threshold(pynvml.NVML_TEMPERATURE_THRESHOLD_MEM_MAX) if of_memory else None)
        except GpuGone as gone:
            return GpuReading(self.index, self.name, lost=True, message=str(gone), uuid=self.uuid)

    def least_power_limit(self) -> float | None:
        """The lowest power limit that the card takes, in watts; None if it doesn't say."""
        try:
            found = ask(binding().nvmlDeviceGetPowerManagementLimitConstraints, self._handle)
        except GpuGone:
            return None
        return _thousandth(found[0]) if found else None

    def processes(self) -> list[GpuProcess] | None:
        """The programs that compute on the card, the largest first; None if the driver doesn't say.

        Not part of `read`: finding their names takes milliseconds.
        """
        try:
            found = ask(binding().nvmlDeviceGetComputeRunningProcesses, self._handle)
        except GpuGone:
            return None
        if found is None:
            return None
        processes = [GpuProcess(each.pid, each.usedGpuMemory, _program(each.pid)) for each in found]
        return sorted(processes, key=lambda each: -(each.memory or 0))

    def _temperature(self) -> int | None:
        pynvml = binding()
        # Older drivers lack the first call; the second is to leave NVML with CUDA 14.
        sensor = pynvml.NVML_TEMPERATURE_GPU
        value: int | None = ask(pynvml.nvmlDeviceGetTemperatureV, self._handle, sensor)
        return value if value is not None else ask(pynvml.nvmlDeviceGetTemperature, self._handle, sensor)

    def _slowdown(self, temperature: int | None) -> int | None:
        """The earlier of two answers: a fixed threshold, and today's temperature plus the margin left.

        NVIDIA documents the threshold as no longer preferred from the RTX 40 series on, where the margin replaces it
        (nvmlDeviceGetTemperatureThreshold, nvmlDeviceGetMarginTemperature). Values that no card can mean are left out.
        """
        pynvml = binding()
        threshold = self._threshold(pynvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN)
        margin = ask(pynvml.nvmlDeviceGetMarginTemperature, self._handle)
        by_margin = _plausible(temperature + margin) if temperature is not None and margin is not None else None
        return min((value for value in (threshold, by_margin) if value is not None), default=None)

    def _threshold(self, which: int) -> int | None:
        return _plausible(ask(binding().nvmlDeviceGetTemperatureThreshold, self._handle, which))

    def _memory_temperature(self) -> int | None:
        pynvml = binding()
        answers = ask(pynvml.nvmlDeviceGetFieldValues, self._handle, [pynvml.NVML_FI_DEV_MEMORY_TEMP])
        if answers is None or answers[0].nvmlReturn != pynvml.NVML_SUCCESS:
            return None
        return answers[0].value.uiVal or None  # 0 is said by cards that have no such sensor

    def _slowed_by(self) -> tuple[str, ...] | None:
        pynvml = binding()
        reasons = ask(pynvml.nvmlDeviceGetCurrentClocksEventReasons, self._handle)
        if reasons is None:  # the call's name in older drivers
            reasons = ask(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons, self._handle)
        if reasons is None:
            return None
        words = {
            "heat": pynvml.nvmlClocksEventReasonSwThermalSlowdown | pynvml.nvmlClocksEventReasonHwThermalSlowdown,
            "power limit": pynvml.nvmlClocksEventReasonSwPowerCap,
            "power supply": pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown,
            "hardware protection": pynvml.nvmlClocksEventReasonHwSlowdown,
        }
        return tuple(word for word, bits in words.items() if reasons & bits)


def open_all() -> tuple[list[GpuMonitor], str]:
    """A monitor for every card, and the reason in a sentence why there is none, or why one is missing; otherwise ""."""
    pynvml = binding()
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return [], explain(error)
    try:
        opened = [GpuMonitor.open(index) for index in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError as error:
        return [], explain(error)
    finally:
        _let_go()
    reasons = [reason for _, reason in opened if reason] if opened else [tr(NO_GPU)]
    return [monitor for monitor, _ in opened if monitor], " ".join(dict.fromkeys(reasons))


def _let_go() -> None:
    pynvml = binding()
    with contextlib.suppress(pynvml.NVMLError):  # a driver that went away in the meantime has nothing left to let go
        pynvml.nvmlShutdown()


def _plausible(limit: int | None) -> int | None:
    """A limit of a card's temperature, unless no card can mean it."""
    return limit if limit is not None and 60 <= limit <= 120 else None


def _program(pid: int) -> str:
    import psutil

    try:
        return str(psutil.Process(pid).name())
    except psutil.Error:
        return ""


def _thousandth(value: int | None) -> float | None:
    """NVML counts milliwatts and millijoules."""
    return None if value is None else value / 1000
