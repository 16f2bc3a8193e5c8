import platform
import subprocess
import sys
from pathlib import Path

import pytest
from support.fake_nvml.build import RTX_3060

from slmstudio.core.hardware import nvml
from slmstudio.core.hardware.machine import Gpu, parse_cpuinfo, read_machine, tidy_cpu_name

ROOT = Path(__file__).parents[3]


def test_this_machine():
    machine = read_machine()
    assert 1 <= machine.physical_cores <= machine.logical_cores
    assert 0 < machine.ram_free <= machine.ram_total
    assert len(machine.cpu_name) > 2 and machine.cpu_name == machine.cpu_name.strip()
    assert machine.system == platform.system()


def test_its_cards(fake_nvml):
    fake_nvml.set(count=2)
    fake_nvml.set(card=1, name="NVIDIA GB10", memory_total="NOT_SUPPORTED", compute_capability=121)
    machine = read_machine()
    assert machine.gpus == (
        Gpu(0, "NVIDIA GeForce RTX 3060", 12 * 1024**3, (12288 - 819) * 1024**2, (8, 6), RTX_3060["uuid"], 170.0),
        Gpu(1, "NVIDIA GB10", None, None, (12, 1), RTX_3060["uuid"], 170.0))
    assert machine.gpu_reason == ""
    assert fake_nvml.users() == 0


@pytest.mark.parametrize(("values", "reason"), [
    ({"count": 0}, nvml.NO_GPU), ({"init": "LIBRARY_NOT_FOUND"}, nvml.NO_DRIVER),
    ({"every_query": "GPU_IS_LOST"}, nvml.LOST),
])
def test_why_it_has_no_card(fake_nvml, values, reason):
    fake_nvml.set(**values)
    machine = read_machine()
    assert (machine.gpus, machine.gpu_reason) == ((), reason)


INTEL = """processor\t: 0
model name\t: Intel(R) Xeon(R) Platinum 8480+ CPU @ 2.00GHz
flags\t\t: fpu sse2 avx512f avx512_bf16 amx_bf16

processor\t: 1
model name\t: something else
flags\t\t: fpu
"""
ARM = "processor\t: 0\nFeatures\t: fp asimd bf16 i8mm\nCPU implementer\t: 0x41\n"


@pytest.mark.parametrize(("text", "expected"), [
    (INTEL, ("Intel Xeon Platinum 8480+", True)),
    (INTEL.replace("avx512_bf16 amx_bf16", "avx512_vbmi2"), ("Intel Xeon Platinum 8480+", False)),
    (ARM, ("", True)), (ARM.replace("bf16 ", ""), ("", False)), ("", ("", False)),
])
def test_what_linux_says_of_the_processor(text, expected):
    assert parse_cpuinfo(text) == expected


@pytest.mark.parametrize("bf16", [True, False])
def test_another_processor_can_be_tried(processor, bf16):
    processor(bf16)
    assert (read_machine().cpu_name, read_machine().cpu_bf16) == ("Trial 3000", bf16)


@pytest.mark.parametrize(("name", "tidy"), [
    ("Intel(R) Core(TM) i5-10400 CPU @ 2.90GHz", "Intel Core i5-10400"),
    ("AMD Ryzen 5 5600X 6-Core Processor             ", "AMD Ryzen 5 5600X"),
    ("13th Gen Intel(R) Core(TM) i7-13700H", "13th Gen Intel Core i7-13700H"),
    ("AMD Ryzen 7 7840HS w/ Radeon 780M Graphics", "AMD Ryzen 7 7840HS w/ Radeon 780M Graphics"),
])
def test_a_processors_name_without_its_ballast(name, tidy):
    assert tidy_cpu_name(name) == tidy


def test_importing_loads_nothing_heavy():
    code = ("import sys; from slmstudio.core.hardware import guard, guidance, machine, nvml;"
            "print([m for m in ('psutil', 'pynvml', 'ctypes', 'torch', 'PySide6') if m in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
