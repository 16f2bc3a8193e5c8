"""The machine's readings, from planted files and from this very machine."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from slmstudio.core import files
from slmstudio.core.hardware.linux_sensors import SYS, Battery, ProcessorSensors, read_battery
from slmstudio.core.hardware.machine import Gpu, Machine
from slmstudio.core.hardware.nvml import GpuMonitor, GpuReading
from slmstudio.core.hardware.readings import CpuReading, MachineReader, MachineReading, with_memory

GIB = 1024**3


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`plant({"class/hwmon/hwmon0/name": "k10temp"})` writes these files below what stands for /sys."""
    monkeypatch.setenv(SYS, str(tmp_path / "sys"))

    def write(values: dict[str, str | int]) -> None:
        for name, value in values.items():
            file = tmp_path / "sys" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{value}\n", encoding="utf-8")

    return write


def chip(number: int, name: str, **values: str | int) -> dict[str, str | int]:
    return {f"class/hwmon/hwmon{number}/{key}": value for key, value in {"name": name, **values}.items()}


NVME = chip(0, "nvme", temp1_input=41_000, temp1_label="Composite", temp1_crit=84_000)


@pytest.mark.parametrize(("chips", "temperature", "limit"), [
    (chip(1, "k10temp", temp1_input=78_250, temp1_label="Tctl", temp3_input=90_000, temp3_label="Tccd1"), 78.25, None),
    (chip(1, "zenpower", temp1_input=71_000, temp1_label="Tdie", temp2_input=81_000, temp2_label="Tctl",
          temp1_max=95_000), 71, 95),
    (chip(1, "coretemp", temp1_input=83_000, temp1_label="Package id 0", temp1_max=80_000, temp1_crit=100_000,
          temp2_input=85_000, temp2_label="Core 0"), 83, 100),
    (chip(1, "coretemp", temp2_input=60_000, temp2_label="Core 0", temp3_input=62_000, temp3_label="Core 1",
          temp2_crit=105_000), 62, 105),
    (chip(1, "cpu_thermal", temp1_input=55_017, temp1_crit=110_000), 55.017, 110),
    (chip(1, "coretemp", temp1_input=70_000, temp1_label="Package id 0", temp1_crit=100_000)
     | chip(2, "coretemp", temp1_input=75_000, temp1_label="Package id 1", temp1_crit=98_000), 75, 98),
    (chip(1, "coretemp", temp1_input=70_000, temp1_label="Package id 0", temp1_crit=0, temp1_max=255_000), 70, None),
    (chip(1, "k10temp", temp1_input="", temp1_label="Tctl"), None, None),
    ({}, None, None),
])
def test_the_heat_of_the_processor_is_that_of_its_package(plant, chips, temperature, limit):
    plant(NVME | chips)
    sensors = ProcessorSensors()
    assert (sensors.temperature_c(), sensors.limit_c) == (temperature, limit)


def test_a_sensor_that_changes_or_goes_away(plant, tmp_path):
    plant(chip(0, "k10temp", temp1_input=50_000))
    sensors = ProcessorSensors()
    plant({"class/hwmon/hwmon0/temp1_input": 91_500})
    assert sensors.temperature_c() == 91.5
    (tmp_path / "sys/class/hwmon/hwmon0/temp1_input").unlink()
    assert sensors.temperature_c() is None


def test_the_clock_is_the_mean_of_the_cores(plant):
    assert ProcessorSensors().clock_mhz() is None
    plant({f"devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq": 2_000_000 + 1_000_000 * core
           for core in range(3)})
    assert ProcessorSensors().clock_mhz() == 3000
    plant({f"devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq": 1_000_000 for core in range(64)})
    assert ProcessorSensors().clock_mhz() == 1000


def supply(name: str, **values: str | int) -> dict[str, str | int]:
    return {f"class/power_supply/{name}/{key}": value for key, value in values.items()}


FULL = supply("BAT0", type="Battery", capacity=80, status="Full")
MOUSE = supply("hidpp_battery_0", type="Battery", scope="Device", capacity=20, status="Discharging")


@pytest.mark.parametrize(("supplies", "battery"), [
    (FULL | supply("AC", type="Mains", online=1), Battery(80, True)),
    (FULL | supply("AC", type="Mains", online=0), Battery(80, False)),
    (FULL | supply("AC", type="Mains", online=0) | supply("ucsi", type="USB", online=1), Battery(80, True)),
    (FULL, Battery(80, True)),
    (supply("BAT1", type="Battery", capacity=35, status="Discharging"), Battery(35, False)),
    (supply("BAT1", type="Battery", capacity=35, status="Unknown"), Battery(35, None)),
    (FULL | supply("BAT1", type="Battery", capacity=60, status="Discharging"), Battery(70, False)),
    (MOUSE, None), (MOUSE | FULL, Battery(80, True)), (supply("AC", type="Mains", online=1), None),
    (supply("BAT0", type="Battery", status="Full"), None), ({}, None)])
def test_the_battery_of_this_machine(plant, supplies, battery):
    plant(supplies)
    assert read_battery() == battery


def test_a_reading_of_the_whole_machine(plant, fake_nvml, tmp_path):
    plant(chip(0, "k10temp", temp1_input=66_000, temp1_max=90_000) | FULL)
    monitor, _ = GpuMonitor.open()
    reader = MachineReader([monitor], tmp_path / "not" / "made")
    reading = reader.read()
    assert [gpu.temperature_c for gpu in reading.gpus] == [46]
    assert (reading.cpu.temperature_c, reading.cpu.limit_c, reading.battery) == (66, 90, Battery(80, True))
    assert reading.memory_total > reading.memory_used > 0 and reading.disk_free > 0
    fake_nvml.set(every_query="GPU_IS_LOST")
    assert reader.read().gpus[0].lost
    reader.close()
    assert fake_nvml.users() == 0


def test_the_load_is_that_since_the_reading_before():
    reader = MachineReader()
    while (load := reader.read().cpu.percent) is None:  # the system's clock hasn't ticked yet
        pass
    assert 0 < load <= 100  # this loop, at least


def test_a_machine_that_says_nothing(plant):
    reading = MachineReader().read()
    assert reading.gpus == () and reading.battery is None and reading.disk_free is None
    assert (reading.cpu.temperature_c, reading.cpu.clock_mhz) == (None, None)


def test_a_machine_gets_the_memory_of_a_later_reading_where_it_differs_noticeably():
    card = Gpu(1, "RTX 4090", 24 * GIB, 20 * GIB, (8, 9))
    machine = Machine("Linux", "CPU", 4, 8, 32 * GIB, 20 * GIB, (card,), True, False)

    def at(used: int, used_by_card: int | None) -> MachineReading:
        seen = GpuReading(1, "RTX 4090", memory_used=used_by_card, memory_total=24 * GIB)
        return MachineReading((GpuReading(0, "RTX 3060", memory_used=0, memory_total=GIB), seen), memory_used=used,
                              memory_total=32 * GIB)

    assert with_memory(machine, at(12 * GIB, 4 * GIB)) is machine
    assert with_memory(machine, at(12 * GIB + GIB // 2, 4 * GIB + GIB // 2)) is machine
    assert with_memory(machine, at(12 * GIB, None)) is machine
    assert with_memory(machine, MachineReading()) is machine
    assert with_memory(machine, at(16 * GIB, None)) == replace(machine, ram_free=16 * GIB)
    assert with_memory(machine, at(12 * GIB, 10 * GIB)) == replace(machine, gpus=(replace(card, memory_free=14 * GIB),))


@pytest.mark.parametrize("reading", [
    MachineReading(),
    MachineReading((GpuReading(0, "RTX 4090", temperature_c=70, fan_percent=0, slowed_by=("heat",)),
                    GpuReading(1, "RTX 3060", lost=True, message="Gone.", slowed_by=())),
                   CpuReading(temperature_c=60.5, percent=0.0), 2**30, 2**34, 2**40, Battery(50.0, None))])
def test_a_reading_travels_as_an_event_and_back(reading):
    event = json.loads(files.dump_line({"type": "sensors", **reading.to_dict()}))
    assert set(event) == {"type", "gpus", "cpu", "memory_used", "memory_total", "disk_free", "battery"}
    assert None not in [value for part in (*event["gpus"], event["cpu"]) for value in part.values()]
    assert MachineReading.from_event(event) == reading


@pytest.mark.parametrize(("event", "reading"), [
    ({"gpus": [{"index": 0, "name": "RTX 3060", "temperature_c": 60, "fan_percent": None}], "process_memory": 5},
     MachineReading((GpuReading(0, "RTX 3060", temperature_c=60),))),
    ({"gpus": None}, MachineReading()),
    ({"gpus": "two", "cpu": [], "battery": {}}, MachineReading()),
    ({"gpus": [{"name": "RTX", "from a later version": 1}]}, MachineReading((GpuReading(0, "RTX"),)))])
def test_events_of_other_versions_are_read_as_far_as_they_say(event, reading):
    assert MachineReading.from_event(event) == reading
