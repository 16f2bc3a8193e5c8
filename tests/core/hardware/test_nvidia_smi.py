"""On a real card: our readings are those of NVIDIA's own program."""

import csv
import json
import shutil
import subprocess
import sys

import pytest

pytestmark = pytest.mark.gpu

QUERY = ("index", "uuid", "name", "temperature.gpu", "power.draw", "enforced.power.limit", "memory.total",
         "memory.used", "memory.reserved", "utilization.gpu", "clocks.sm", "clocks.mem", "fan.speed",
         "temperature.memory")
READ = """
import dataclasses, json
from slmstudio.core.hardware.nvml import open_all
print(json.dumps([dataclasses.asdict(monitor.read()) for monitor in open_all()[0]]))
"""
MIB = 1024**2


@pytest.fixture(scope="module")
def cards():
    """For each card: our reading before and after, and between them nvidia-smi's values by their names."""
    program = shutil.which("nvidia-smi")
    asked = [program or "", f"--query-gpu={','.join(QUERY)}", "--format=csv,noheader,nounits"]
    before = ours()
    said = subprocess.run(asked, capture_output=True, text=True) if program and before else None
    if said is None or said.returncode != 0:
        pytest.skip("this machine has no NVIDIA card")
    rows = [dict(zip(QUERY, map(str.strip, row), strict=True)) for row in csv.reader(said.stdout.splitlines())]
    return list(zip(rows, before, ours(), strict=True))


def ours() -> list[dict]:
    """In a process of its own: this one may have the fake library in memory."""
    return json.loads(subprocess.run([sys.executable, "-c", READ], capture_output=True, text=True, check=True).stdout)


def number(said: str) -> float | None:
    """nvidia-smi's value; None for "[N/A]", "[Not Supported]", "N/A"."""
    try:
        return float(said)
    except ValueError:
        return None


@pytest.mark.parametrize(("theirs", "mine", "factor", "margin"), [
    ("temperature.gpu", "temperature_c", 1, 4), ("temperature.memory", "memory_temperature_c", 1, 4),
    ("power.draw", "power_w", 1, 60), ("enforced.power.limit", "power_limit_w", 1, 0.01),
    ("memory.total", "memory_total", MIB, MIB), ("utilization.gpu", "utilisation", 1, 60),
    ("clocks.sm", "clock_mhz", 1, 600), ("clocks.mem", "memory_clock_mhz", 1, 600), ("fan.speed", "fan_percent", 1, 5)])
def test_it_says_what_we_read(cards, theirs, mine, factor, margin):
    for said, before, after in cards:
        value, low, high = number(said[theirs]), before[mine], after[mine]
        assert (value is None) == (low is None), (theirs, said[theirs], low)
        if value is not None:
            assert min(low, high) - margin <= value * factor <= max(low, high) + margin, (theirs, said[theirs])


def test_memory_in_use_is_theirs_with_what_the_driver_keeps(cards):
    for said, before, after in cards:
        used = (float(said["memory.used"]) + (number(said["memory.reserved"]) or 0)) * MIB
        low, high = sorted((before["memory_used"], after["memory_used"]))
        assert low - 256 * MIB <= used <= high + 256 * MIB


def test_cards_are_named_and_counted_alike(cards):
    assert [(int(said["index"]), said["uuid"], said["name"]) for said, _, _ in cards] == [
        (before["index"], before["uuid"], before["name"]) for _, before, _ in cards]
