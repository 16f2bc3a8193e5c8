"""What an NVIDIA card says of itself: temperature, power, memory, load.

Cards and drivers differ in what they answer (WSL2 and laptops lack some queries), so every reading is optional.

Cards are counted as the driver counts them, by PCI address. CUDA counts the fastest first unless CUDA_DEVICE_ORDER is
PCI_BUS_ID, and CUDA_VISIBLE_DEVICES may hide some: which of these cards is torch's `cuda:0` is not settled here.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from types import ModuleType, TracebackType
from typing import Any

NO_DRIVER = "No NVIDIA driver was found on this machine."
NO_GPU = ("The NVIDIA driver is there, but it sees no GPU. Check that the card sits firmly and has power, or that the "
          "laptop's graphics settings switch it on.")
LOST = ("The GPU no longer answers. Restart the machine; if it happens again, check the card's power cables and "
        "cooling, and update the driver.")
DRIVER_GONE = "The NVIDIA driver was stopped or replaced. Restart the machine."


@dataclass(frozen=True, slots=True)
class GpuReading:
    """One look at one card. None: the card or its driver does not say.

    Attributes:
        index: the driver's number of the card, from 0.
        temperature_c: degrees Celsius.
        slowdown_c: the temperature at which the card slows itself down to protect itself.
        power_w, power_limit_w: watts drawn, and at most allowed.
        energy_j: joules drawn since the driver was loaded.
        memory_used, memory_total: bytes; used counts all programs and the driver's own share.
        utilisation: percent of the time in which the card was busy.
        clock_mhz: clock of its processors.
        fan_percent: intended fan speed; passively cooled cards and many laptops have none.
        slowed_by: what holds the clock down now: "heat", "power limit", "power supply", "hardware protection".
        lost: the card no longer answers; `message` says so in a sentence.
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

    def to_dict(self) -> dict[str, Any]:
        """The value of "gpu" in a sensors event."""
        return asdict(self)


class GpuMonitor:
    """Reads one card for as long as it is open. Safe to use from any thread.

    Attributes:
        index: the driver's number of the card.
        name: as the driver gives it.
        compute_capability: CUDA's number for the card's generation, (8, 6) for an RTX 3060.
    """

    def __init__(self, index: int, handle: Any):
        pynvml = _pynvml()
        self.index = index
        self.name: str = _try(pynvml.nvmlDeviceGetName, handle) or f"GPU {index}"
        self.compute_capability: tuple[int, int] | None = _try(pynvml.nvmlDeviceGetCudaComputeCapability, handle)
        self._handle = handle
        self._open = True

    @classmethod
    def open(cls, index: int = 0) -> tuple[GpuMonitor | None, str]:
        """The monitor of card `index` and "", or None and the reason in a sentence."""
        pynvml = _pynvml()
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            return None, _reason(error)
        try:
            count = pynvml.nvmlDeviceGetCount()
            if index < count:
                return cls(index, pynvml.nvmlDeviceGetHandleByIndex(index)), ""
            reason = f"There is no GPU {index}; the driver sees {count}, counted from 0." if count else NO_GPU
        except pynvml.NVMLError as error:
            reason = _reason(error)
        except GpuGone as gone:
            reason = str(gone)
        pynvml.nvmlShutdown()
        return None, reason

    def close(self) -> None:
        """Let the driver go. Closing twice does nothing."""
        pynvml = _pynvml()
        if self._open:
            self._open = False
            # A driver that went away in the meantime has nothing left to let go.
            with contextlib.suppress(pynvml.NVMLError):
                pynvml.nvmlShutdown()

    def __enter__(self) -> GpuMonitor:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def read(self) -> GpuReading:
        """Ask the card for everything it answers. Never raises: a card that went away is a reading with `lost`."""
        pynvml = _pynvml()
        try:
            temperature = self._temperature()
            memory = _try(pynvml.nvmlDeviceGetMemoryInfo, self._handle)
            load = _try(pynvml.nvmlDeviceGetUtilizationRates, self._handle)
            return GpuReading(
                self.index, self.name,
                temperature_c=temperature,
                slowdown_c=self._slowdown(temperature),
                power_w=_thousandth(_try(pynvml.nvmlDeviceGetPowerUsage, self._handle)),
                power_limit_w=_thousandth(_try(pynvml.nvmlDeviceGetEnforcedPowerLimit, self._handle)),
                energy_j=_thousandth(_try(pynvml.nvmlDeviceGetTotalEnergyConsumption, self._handle)),
                memory_used=memory.used if memory else None,
                memory_total=memory.total if memory else None,
                utilisation=load.gpu if load else None,
                clock_mhz=_try(pynvml.nvmlDeviceGetClockInfo, self._handle, pynvml.NVML_CLOCK_SM),
                fan_percent=_try(pynvml.nvmlDeviceGetFanSpeed, self._handle),
                slowed_by=self._slowed_by())
        except GpuGone as gone:
            return GpuReading(self.index, self.name, lost=True, message=str(gone))

    def _temperature(self) -> int | None:
        pynvml = _pynvml()
        # Older drivers lack the first call; the second is to leave NVML with CUDA 14.
        sensor = pynvml.NVML_TEMPERATURE_GPU
        value: int | None = _try(pynvml.nvmlDeviceGetTemperatureV, self._handle, sensor)
        return value if value is not None else _try(pynvml.nvmlDeviceGetTemperature, self._handle, sensor)

    def _slowdown(self, temperature: int | None) -> int | None:
        """The earlier of two answers: a fixed threshold, and today's temperature plus the margin left.

        NVIDIA documents the threshold as no longer preferred from the RTX 40 series on, where the margin replaces it
        (nvmlDeviceGetTemperatureThreshold, nvmlDeviceGetMarginTemperature). Values that no card can mean are left out.
        """
        pynvml = _pynvml()
        threshold = _try(pynvml.nvmlDeviceGetTemperatureThreshold, self._handle,
                         pynvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN)
        margin = _try(pynvml.nvmlDeviceGetMarginTemperature, self._handle)
        by_margin = temperature + margin if temperature is not None and margin is not None else None
        return min((value for value in (threshold, by_margin) if value is not None and 60 <= value <= 120),
                   default=None)

    def _slowed_by(self) -> tuple[str, ...] | None:
        pynvml = _pynvml()
        reasons = _try(pynvml.nvmlDeviceGetCurrentClocksEventReasons, self._handle)
        if reasons is None:  # the call's name in older drivers
            reasons = _try(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons, self._handle)
        if reasons is None:
            return None
        words = {
            "heat": pynvml.nvmlClocksEventReasonSwThermalSlowdown | pynvml.nvmlClocksEventReasonHwThermalSlowdown,
            "power limit": pynvml.nvmlClocksEventReasonSwPowerCap,
            "power supply": pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown,
            "hardware protection": pynvml.nvmlClocksEventReasonHwSlowdown,
        }
        return tuple(word for word, bits in words.items() if reasons & bits)


def _pynvml() -> ModuleType:
    """The binding, loaded when a card is first asked for: no window waits for it."""
    return importlib.import_module("pynvml")


def open_all() -> tuple[list[GpuMonitor], str]:
    """A monitor for every card, and the reason in a sentence why there is none, or why one is missing; else ""."""
    pynvml = _pynvml()
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return [], _reason(error)
    try:
        opened = [GpuMonitor.open(index) for index in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError as error:
        return [], _reason(error)
    finally:
        pynvml.nvmlShutdown()
    reasons = [reason for _, reason in opened if reason] if opened else [NO_GPU]
    return [monitor for monitor, _ in opened if monitor], " ".join(dict.fromkeys(reasons))


class GpuGone(Exception):
    """The card or its driver went away while it was being read."""


def _try(query: Callable[..., Any], *arguments: Any) -> Any:
    """The answer to one query; None where the card, the driver or the permission is missing for it.

    Raises:
        GpuGone: nothing else will be answered either.
    """
    pynvml = _pynvml()
    try:
        return query(*arguments)
    except pynvml.NVMLError as error:
        if error.value in (pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED):
            raise GpuGone(LOST) from error
        if error.value in (pynvml.NVML_ERROR_UNINITIALIZED, pynvml.NVML_ERROR_DRIVER_NOT_LOADED):
            raise GpuGone(DRIVER_GONE) from error
        return None


def _thousandth(value: int | None) -> float | None:
    """NVML counts milliwatts and millijoules."""
    return None if value is None else value / 1000


def _reason(error: Any) -> str:
    """Why NVML cannot be used, for a person."""
    pynvml = _pynvml()
    return {
        pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: NO_DRIVER,
        pynvml.NVML_ERROR_DRIVER_NOT_LOADED: "The NVIDIA driver is installed, but not loaded. Restart the machine; if "
                                             "that does not help, install the driver again.",
        pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "The NVIDIA driver was updated, and its old version is still "
                                                   "loaded. Restart the machine.",
        pynvml.NVML_ERROR_NO_PERMISSION: "This user account may not use the NVIDIA driver. Ask an administrator for "
                                         "access to the GPU.",
        pynvml.NVML_ERROR_GPU_NOT_FOUND: NO_GPU,
        pynvml.NVML_ERROR_GPU_IS_LOST: LOST,
        pynvml.NVML_ERROR_RESET_REQUIRED: LOST,
    }.get(error.value, f"The NVIDIA driver cannot be asked; it says: {str(error).rstrip('.')}. Update the driver.")
