"""Trees of files stand for machines with and without the processor's counters."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from slmstudio.core.hardware import linux_sensors
from slmstudio.core.hardware.linux_sensors import SYS
from slmstudio.core.hardware.readings import MachineReader


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """`tree("intel-rapl:0", name="package-0", energy_uj=…)` adds a folder of counters."""
    monkeypatch.setenv(SYS, str(tmp_path))

    def add(folder: str, **content: object) -> Path:
        place = tmp_path / "class/powercap" / folder
        place.mkdir(parents=True)
        for name, value in content.items():
            (place / name).write_text(f"{value}\n")
        return place

    return add


def test_one_package_is_read_with_where_it_wraps(tree):
    tree("intel-rapl:0", name="package-0", energy_uj=123_456_789, max_energy_range_uj=262_143_328_850)
    assert linux_sensors.processor_energy() == (123.456789, 262_143.32885) and linux_sensors.no_energy_counter() == ""


def test_packages_are_summed_and_nothing_is_counted_twice(tree):
    for number, micro in enumerate((100e6, 250e6)):
        tree(f"intel-rapl:{number}", name=f"package-{number}", energy_uj=int(micro), max_energy_range_uj=10**12)
    tree("intel-rapl:0:0", name="core", energy_uj=60 * 10**6, max_energy_range_uj=10**12)
    tree("intel-rapl:0:1", name="dram", energy_uj=9 * 10**6, max_energy_range_uj=10**12)
    tree("intel-rapl:2", name="psys", energy_uj=900 * 10**6, max_energy_range_uj=10**12)
    tree("intel-rapl-mmio:0", name="package-0", energy_uj=100 * 10**6, max_energy_range_uj=10**12)
    tree("intel-rapl", enabled=1)
    assert linux_sensors.processor_energy() == (350.0, 10**6)


def test_packages_that_wrap_at_different_figures_have_no_common_one(tree):
    tree("intel-rapl:0", name="package-0", energy_uj=10**6, max_energy_range_uj=10**12)
    tree("intel-rapl:1", name="package-1", energy_uj=10**6, max_energy_range_uj=10**11)
    assert linux_sensors.processor_energy() == (2.0, None)


def test_a_reading_of_the_machine_holds_it(tree):
    tree("intel-rapl:0", name="package-0", energy_uj=5 * 10**6, max_energy_range_uj=10**12)
    cpu = MachineReader().read().cpu
    assert (cpu.energy_j, cpu.energy_wraps_j) == (5.0, 10**6)


def test_no_counter_is_said(tree):
    assert linux_sensors.processor_energy() == (None, None)
    assert linux_sensors.no_energy_counter() == linux_sensors.MISSING


@pytest.mark.parametrize("content", ["", "many", "-5"])
def test_a_counter_that_makes_no_sense_is_none(tree, content):
    tree("intel-rapl:0", name="package-0", energy_uj=content, max_energy_range_uj=10**12)
    assert linux_sensors.processor_energy() == (None, None)


def test_a_counter_for_root_alone_is_said(tree):
    place = tree("intel-rapl:0", name="package-0", energy_uj=5, max_energy_range_uj=10**12)
    (place / "energy_uj").unlink()
    (place / "energy_uj").symlink_to(place)  # can't be read, not even by root
    assert linux_sensors.processor_energy() == (None, None) and "CVE-2020-8694" in linux_sensors.no_energy_counter()
    assert os.path.lexists(place / "energy_uj")
