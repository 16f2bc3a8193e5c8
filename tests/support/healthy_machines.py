"""What the doctor finds on machines where all is well; a fault is planted into one by `dataclasses.replace`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from support.machines import GB, machine

from slmstudio.core.hardware.doctor import checks_machine
from slmstudio.core.hardware.doctor.facts import AMD, INTEL, NVIDIA, Cache, Card, Facts, Loaded, Torch

NAMES = ("torch", "transformers", "accelerate", "peft", "trl", "datasets", "bitsandbytes", "llama_cpp")
PINS = {"transformers": "5.24.0", "peft": "0.21.2", "jinja2": "3.1.6", "llama-cpp-python": "0.3.36"}
KERNELS = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120")
FLAGS = frozenset({"fpu", "sse2", "avx", "avx2"})
DAY = checks_machine.DAY
NOW = checks_machine.WRITTEN + 40 * DAY


def desktop() -> Facts:
    """An RTX 3060 under Ubuntu, set up by the program's own setup: llama.cpp is the build for processors."""
    home = Path("/home/asha/.local/share/slmstudio")
    loaded = dict.fromkeys(NAMES, Loaded()) | {"bitsandbytes": Loaded(gpu=True), "llama_cpp": Loaded(gpu=False)}
    return Facts(
        "Linux", machine(12), (Card(NVIDIA, 0x2504, "GeForce RTX 3060", "nvidia"),), "580.95.05", "580.95.05",
        (13, 0), torch=Torch("2.13.0+cu130", "13.0", None, True, "", KERNELS, True), loaded=loaded,
        python=(3, 12, 3), versions={**PINS, "torch": "2.13.0+cu130", "numpy": "2.4.6"}, pins=PINS, cpu_flags=FLAGS,
        swap=2 * GB, shared_memory=16 * GB, power_profile="balanced", home=home, file_system="ext4", rotational=False,
        write_speed=1.9e9, free=400 * GB, caches=(Cache("SLM Studio's own cache", home / "cache", 40 * 1024**2),),
        jobs_size=40 * 1024**2, now=NOW, newest_file=NOW - 60, encoding="utf-8", scripts_without_font=())


def windows() -> Facts:
    """A 4090 in Windows, where much isn't known."""
    one = machine(24, ram_gb=63.2, name="NVIDIA GeForce RTX 4090", capability=(8, 9))
    return replace(desktop(), system="Windows", machine=replace(one, system="Windows"), kernel_driver=None,
                   driver="581.57", cards=(Card(NVIDIA, 0x2684, "GeForce RTX 4090", "nvidia"),
                                           Card(INTEL, 0xA780, "UHD Graphics 770", "", integrated=True)),
                   cpu_flags=None, shared_memory=None, power_profile="", file_system="", rotational=None,
                   home=Path(r"C:\Users\Asha\AppData\Local\slmstudio"))


def laptop() -> Facts:
    """No card but the processor's own, on the mains."""
    loaded = dict.fromkeys(NAMES, Loaded()) | {"bitsandbytes": Loaded(gpu=False), "llama_cpp": Loaded(gpu=False)}
    return replace(desktop(), machine=machine(ram_gb=15.4), driver=None, kernel_driver=None, driver_cuda=None,
                   cards=(Card(AMD, 0x15BF, "Radeon 780M", "amdgpu", integrated=True),), loaded=loaded,
                   torch=Torch("2.13.0+cpu", available=False), on_battery=False, write_speed=None)


def wsl2() -> Facts:
    """Linux inside Windows: no cards on its bus, and a virtual disk that calls itself a spinning one."""
    here = replace(machine(12, ram_gb=31.1), is_wsl=True)
    return replace(desktop(), machine=here, cards=(), kernel_driver=None, rotational=True, power_profile="",
                   swap=8 * GB, write_speed=None)


ALL = {"RTX 3060, Ubuntu": desktop, "RTX 4090, Windows": windows, "laptop without a card": laptop, "WSL 2": wsl2}
