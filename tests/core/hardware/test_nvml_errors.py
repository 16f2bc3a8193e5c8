"""Whatever NVIDIA's library refuses, nothing breaks: each symbol that is called fails alone, in each way."""

import re
from pathlib import Path

import pynvml
import pytest
from support.fake_nvml.build import RTX_3060, SOURCE

import slmstudio
from slmstudio.core.hardware import nvml
from slmstudio.core.hardware.machine import open_as_torch_counts, read_gpus
from slmstudio.core.hardware.nvml import GpuMonitor, open_all

SYMBOLS = sorted(set(re.findall(r"^Return (nvml\w+)\(", SOURCE.read_text(encoding="utf-8"), re.MULTILINE))
                 - {"nvmlSystemGetDriverVersion", "nvmlSystemGetCudaDriverVersion"})
FALLBACKS = {"nvmlDeviceGetTemperature": "nvmlDeviceGetTemperatureV",
             "nvmlDeviceGetCurrentClocksThrottleReasons": "nvmlDeviceGetCurrentClocksEventReasons"}
"""Calls that only older drivers are asked: that of newer ones is missing there."""
ALWAYS = {"nvmlInitWithFlags", "nvmlDeviceGetCount_v2", "nvmlDeviceGetHandleByIndex_v2"}
"""Without these there is no card."""


@pytest.fixture(autouse=True)
def let_go(fake_nvml):
    """Where the call that failed was the one that lets the driver go."""
    yield
    fake_nvml.set(nvmlShutdown=None)
    while fake_nvml.users():
        pynvml.nvmlShutdown()


def test_the_fake_has_every_call_that_is_made():
    sources = "".join(file.read_text("utf-8") for file in Path(slmstudio.__file__).parent.rglob("*.py"))
    calls = {name for name in re.findall(r"\.(nvml[A-Z]\w+)", sources) if callable(getattr(pynvml, name, None))}
    assert len(calls) > 15
    assert {call for call in calls if not any(symbol.startswith(call) for symbol in SYMBOLS)} <= {
        "nvmlSystemGetDriverVersion", "nvmlSystemGetCudaDriverVersion"}


@pytest.mark.parametrize("error", ["NOT_SUPPORTED", "NO_PERMISSION", "UNKNOWN", "TIMEOUT", "error 4711"])
@pytest.mark.parametrize("symbol", SYMBOLS)
def test_one_call_fails(fake_nvml, symbol, error):
    if symbol in FALLBACKS:
        fake_nvml.set(**{FALLBACKS[symbol]: "FUNCTION_NOT_FOUND"})
    fake_nvml.set(least_power_limit=100_000, **{symbol: error})
    monitors, reason = open_all()
    ordered, ordered_reason = open_as_torch_counts([RTX_3060["uuid"]])
    gpus, gpu_reason = read_gpus()
    assert len(monitors) == len(ordered) == len(gpus) == (symbol not in ALWAYS)
    assert bool(reason) == bool(ordered_reason) == bool(gpu_reason) == (symbol in ALWAYS)
    for monitor in monitors + ordered:
        reading = monitor.read()
        assert (not reading.lost and "NVIDIA" in reading.name) or symbol == "nvmlDeviceGetName"
        assert monitor.processes() == (None if "Processes" in symbol else [])
        assert monitor.least_power_limit() == (None if "Constraints" in symbol else 100.0)
        monitor.close()
    assert fake_nvml.called(symbol)


@pytest.mark.parametrize("error", ["GPU_IS_LOST", "RESET_REQUIRED", "UNINITIALIZED", "DRIVER_NOT_LOADED"])
@pytest.mark.parametrize("symbol", SYMBOLS)
def test_one_call_finds_the_card_or_the_driver_gone(fake_nvml, symbol, error):
    if symbol in FALLBACKS:
        fake_nvml.set(**{FALLBACKS[symbol]: "FUNCTION_NOT_FOUND"})
    monitor, reason = GpuMonitor.open()
    assert monitor is not None, reason
    fake_nvml.set(**{symbol: error})
    reading = monitor.read()
    asked = fake_nvml.called(symbol) and symbol not in ALWAYS | {
        "nvmlDeviceGetName", "nvmlDeviceGetUUID", "nvmlDeviceGetCudaComputeCapability", "nvmlShutdown",
        "nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetPowerManagementLimitConstraints"}
    assert (reading.lost, reading.message in (nvml.LOST, nvml.DRIVER_GONE)) == (asked, asked)
    assert reading.name == RTX_3060["name"]
    monitor.close()
    again, reason = GpuMonitor.open()
    if again is None:
        assert reason
    else:
        again.close()
