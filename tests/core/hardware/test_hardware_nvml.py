"""The real pynvml, talking to a fake of NVIDIA's library."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest
from support.fake_nvml.build import WSL2

from slmstudio.core import files
from slmstudio.core.hardware import nvml
from slmstudio.core.hardware.nvml import GpuMonitor, open_all

ROOT = Path(__file__).parents[3]
UUID = "GPU-3e5a9c41-0f2b-4d7e-8a61-5c0d2e9b7f10"


@pytest.fixture
def monitor(fake_nvml):
    monitor, reason = GpuMonitor.open()
    assert reason == ""
    with monitor:
        yield monitor
    assert fake_nvml.users() == 0


def test_a_reading_has_the_units_that_people_use(monitor):
    reading = monitor.read()
    assert (monitor.name, monitor.compute_capability) == ("NVIDIA GeForce RTX 3060", (8, 6))
    assert reading == nvml.GpuReading(
        0, "NVIDIA GeForce RTX 3060", temperature_c=46, slowdown_c=95, power_w=17.23, power_limit_w=170.0,
        energy_j=9876.543, memory_used=819 * 1024**2, memory_total=12 * 1024**3, utilisation=3, clock_mhz=210,
        fan_percent=30, slowed_by=(), uuid=UUID, shutdown_c=98, graphics_clock_mhz=210, memory_clock_mhz=405,
        memory_utilisation=1)


def test_readings_follow_the_card(monitor, fake_nvml):
    for temperature in (60, 83, 91):
        fake_nvml.set(temperature=temperature, power=168_400, clock_reasons=0x20 | 0x4)
        reading = monitor.read()
        assert (reading.temperature_c, reading.power_w) == (temperature, 168.4)
        assert reading.slowed_by == ("heat", "power limit")


FIELDS = {"temperature": ["temperature_c"], "slowdown": ["slowdown_c"], "power": ["power_w"],
          "power_limit": ["power_limit_w"], "energy": ["energy_j"], "memory_used": ["memory_used", "memory_total"],
          "utilisation": ["utilisation", "memory_utilisation"], "shutdown": ["shutdown_c"],
          "graphics_clock": ["graphics_clock_mhz"], "memory_clock": ["memory_clock_mhz"],
          "clock": ["clock_mhz"], "fan": ["fan_percent"],
          "clock_reasons": ["slowed_by"]}


@pytest.mark.parametrize("error", ["NOT_SUPPORTED", "NO_PERMISSION", "FUNCTION_NOT_FOUND", "UNKNOWN"])
@pytest.mark.parametrize("query", FIELDS)
def test_each_query_may_be_missing_alone(monitor, fake_nvml, query, error):
    before = asdict(monitor.read())
    fake_nvml.set(**{query: error})
    after = asdict(monitor.read())
    assert after == before | dict.fromkeys(FIELDS[query])


def test_a_card_that_answers_nothing_is_still_a_card(monitor, fake_nvml):
    fake_nvml.set(**dict.fromkeys(FIELDS))
    assert monitor.read() == nvml.GpuReading(0, "NVIDIA GeForce RTX 3060", uuid=UUID)


def test_older_drivers_lack_the_newer_calls(monitor, fake_nvml):
    before = monitor.read()
    fake_nvml.set(nvmlDeviceGetTemperatureV="FUNCTION_NOT_FOUND",
                  nvmlDeviceGetCurrentClocksEventReasons="FUNCTION_NOT_FOUND")
    assert monitor.read() == before


@pytest.mark.parametrize(("values", "slowdown"), [
    ({"slowdown": None, "temperature": 60, "margin": 24}, 84),
    ({"slowdown": 97, "temperature": 60, "margin": 24}, 84),
    ({"slowdown": 90, "temperature": 60, "margin": 34}, 90),
    ({"slowdown": 90, "temperature": 92, "margin": -3}, 89),
    ({"slowdown": None, "temperature": None, "margin": 24}, None),
    ({"slowdown": 0}, None),
    ({"slowdown": 255}, None),
    ({"slowdown": 0, "temperature": 60, "margin": 24}, 84),
])
def test_the_slowdown_temperature_is_the_earlier_plausible_one(monitor, fake_nvml, values, slowdown):
    fake_nvml.set(**values)
    assert monitor.read().slowdown_c == slowdown


@pytest.mark.parametrize(("error", "message"), [
    ("GPU_IS_LOST", nvml.LOST), ("RESET_REQUIRED", nvml.LOST), ("DRIVER_NOT_LOADED", nvml.DRIVER_GONE)])
def test_a_lost_card_is_a_reading_that_says_so(monitor, fake_nvml, error, message):
    assert not monitor.read().lost
    fake_nvml.set(every_query=error)
    assert monitor.read() == nvml.GpuReading(0, "NVIDIA GeForce RTX 3060", lost=True, message=message, uuid=UUID)
    fake_nvml.set(every_query=None)
    assert monitor.read().temperature_c == 46


def test_the_heat_of_its_memory_where_a_card_tells_it(monitor, fake_nvml):
    fake_nvml.set(memory_temperature=94)
    assert monitor.read().memory_temperature_c == 94 and monitor.read().memory_limit_c is None
    fake_nvml.set(memory_max=105)
    assert monitor.read().memory_limit_c == 105
    fake_nvml.set(memory_temperature=0)
    assert monitor.read().memory_temperature_c is None


def test_inside_wsl2_what_is_missing_is_absent_and_the_rest_is_there(monitor, fake_nvml):
    fake_nvml.set(**WSL2)
    reading = monitor.read()
    assert (reading.temperature_c, reading.power_w, reading.memory_used) == (46, 17.23, 819 * 1024**2)
    assert (reading.fan_percent, reading.energy_j, reading.slowed_by, reading.power_limit_w) == (None,) * 4
    assert monitor.processes() is None


def test_who_computes_on_the_card(monitor, fake_nvml):
    assert monitor.processes() == []
    mine, nobody = os.getpid(), 2**22 + 1  # above the greatest number that Linux gives
    fake_nvml.set(processes=f"{nobody} {mine}:{2**30}")
    name = psutil.Process(mine).name()
    assert monitor.processes() == [nvml.GpuProcess(mine, 2**30, name), nvml.GpuProcess(nobody, None, "")]
    fake_nvml.set(processes="GPU_IS_LOST")
    assert monitor.processes() is None


def test_a_reading_travels_as_an_event(monitor, fake_nvml):
    fake_nvml.set(clock_reasons=0x40)
    event = json.loads(files.dump_line({"type": "sensors", "gpus": [asdict(monitor.read())]}))
    assert event["gpus"][0]["temperature_c"] == 46
    assert event["gpus"][0]["slowed_by"] == ["heat"]


@pytest.mark.parametrize(("values", "sentence"), [
    ({"init": "LIBRARY_NOT_FOUND"}, "No NVIDIA driver was found on this machine."),
    ({"init": "DRIVER_NOT_LOADED"}, "The NVIDIA driver is installed but not loaded. Restart the machine; if that "
                                    "doesn't help, install the driver again."),
    ({"init": "LIB_RM_VERSION_MISMATCH"}, "The NVIDIA driver was updated, and its old version is still loaded. "
                                          "Restart the machine."),
    ({"init": "NO_PERMISSION"}, "This user account may not use the NVIDIA driver. Ask an administrator for access "
                                "to the GPU."),
    ({"init": "GPU_NOT_FOUND"}, nvml.NO_GPU),
    ({"count": 0}, nvml.NO_GPU),
    ({"count": "GPU_IS_LOST"}, nvml.LOST),
    ({"every_query": "GPU_IS_LOST"}, nvml.LOST),
    ({"init": "OPERATING_SYSTEM"}, "The NVIDIA driver can't be queried: The operating system has "
                                   "blocked the request. Update the driver."),
    ({"init": "error 777"}, "The NVIDIA driver can't be queried: Fake error 777. Update the driver."),
])
def test_why_there_is_no_monitor(fake_nvml, values, sentence):
    fake_nvml.set(**values)
    assert GpuMonitor.open() == (None, sentence)
    assert open_all() == ([], sentence)
    assert fake_nvml.users() == 0


def test_without_a_driver(fake_nvml):
    fake_nvml.remove_driver()
    assert GpuMonitor.open() == (None, nvml.NO_DRIVER)
    assert open_all() == ([], nvml.NO_DRIVER)


def test_a_card_that_is_not_there(fake_nvml):
    assert GpuMonitor.open(2) == (None, "There is no GPU 2; the driver sees 1, counted from 0.")
    assert fake_nvml.users() == 0


def test_two_cards_are_two_monitors(fake_nvml):
    fake_nvml.set(count=2)
    fake_nvml.set(card=1, name="NVIDIA GeForce RTX 4090", temperature=71)
    monitors, reason = open_all()
    assert [(m.index, m.name, m.read().temperature_c) for m in monitors] == [
        (0, "NVIDIA GeForce RTX 3060", 46), (1, "NVIDIA GeForce RTX 4090", 71)]
    assert reason == ""
    fake_nvml.set(card=0, every_query="GPU_IS_LOST")
    assert [m.read().lost for m in monitors] == [True, False]
    others, reason = open_all()
    assert ([m.index for m in others], reason) == ([1], nvml.LOST)
    for monitor in monitors + others:
        monitor.close()
        monitor.close()
    assert fake_nvml.users() == 0


PROBE = """
from slmstudio.core.hardware.nvml import GpuMonitor
monitor, reason = GpuMonitor.open()
print(reason or monitor.read().temperature_c)
"""


def probe(env):
    return subprocess.run([sys.executable, "-c", PROBE], env=env, cwd=ROOT, check=True, capture_output=True,
                          text=True).stdout.strip()


def test_child_processes_see_the_same_card(fake_nvml):
    fake_nvml.set(temperature=77)
    assert probe(fake_nvml.env) == "77"


def test_without_a_library_pynvml_finds_no_driver():
    load = "import ctypes; ctypes.CDLL('libnvidia-ml.so.1')"
    if subprocess.run([sys.executable, "-c", load], capture_output=True).returncode == 0:
        pytest.skip("this machine has an NVIDIA driver")
    assert probe(None) == nvml.NO_DRIVER
