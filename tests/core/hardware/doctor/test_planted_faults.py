"""Faults planted into a healthy machine: each is found, at its state, with a remedy, and nothing else changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from support import healthy_machines
from support.healthy_machines import DAY, GB, KERNELS, NOW, desktop, laptop, windows, wsl2
from support.machines import machine

from slmstudio.core.errors import UserError
from slmstudio.core.hardware import nvml
from slmstudio.core.hardware.doctor.facts import AMD, INTEL, NVIDIA, Card, Facts, Loaded, Torch
from slmstudio.core.hardware.doctor.gather import examine
from slmstudio.core.hardware.wsl import FIRST_VERSION, Finding


@dataclass(frozen=True)
class Fault:
    """A planted fault.

    Attributes:
        here: the machine that it is planted into.
        changes: facts that are different.
        says: words of its title.
        mends: words of remedy or command.
        also: codes of lines that say something else because of it, or nothing.
    """

    code: str
    state: str
    says: str
    mends: str
    changes: dict[str, Any]
    here: Callable[[], Facts] = desktop
    also: frozenset[str] = frozenset()


SETUP = "setup"
BLIND = frozenset({"torch", "generation", "bitsandbytes", "llama"})
"""Codes of lines that speak of the card, where it can't be seen."""
NOT_SEEN = {"driver": None, "driver_cuda": None}
LOST = replace(machine(12), gpus=(), gpu_reason=nvml.LOST)
OLD_CARD = machine(8.1, name="NVIDIA GeForce GTX 1080", capability=(6, 1))
NEW_CARD = machine(12, name="NVIDIA GeForce RTX 6060", capability=(13, 0))
DENIED = UserError("Could not write there.", "Permission was denied.", "Choose another folder.")
NEWER = Finding("wsl_no_driver", "WSL can't reach an NVIDIA driver in Windows.", "It is missing.",
                "Install it in Windows.")


def torch(**changes: Any) -> Torch:
    return replace(desktop().torch or Torch(""), **changes)


def loaded(name: str, **changes: Any) -> dict[str, Loaded]:
    return {**desktop().loaded, name: Loaded(**changes)}


FAULTS = {
    "PyTorch for processors beside a good card": Fault(
        "torch", "problem", "PyTorch can't use the RTX 3060: this is the CPU-only build.", SETUP,
        {"torch": Torch("2.13.0+cpu", available=False)}, also=frozenset({"bitsandbytes"})),
    "the same in Windows": Fault(
        "torch", "problem", "this is the CPU-only build", SETUP, {"torch": Torch("2.13.0+cpu", available=False)},
        windows, frozenset({"bitsandbytes"})),
    "a driver too old for the CUDA of PyTorch": Fault(
        "torch", "problem", "The NVIDIA driver is too old for this PyTorch.", "Update the NVIDIA driver",
        {"driver": "550.120", "kernel_driver": "550.120", "driver_cuda": (12, 4), "torch": torch(available=False)},
        also=frozenset({"driver"})),
    "CUDA that does not start": Fault(
        "torch", "problem", "PyTorch can't use the card.", "Restart",
        {"torch": torch(available=False, why="CUDA unknown error")}),
    "a variable that hides the card": Fault(
        "torch", "problem", "CUDA_VISIBLE_DEVICES", "unset CUDA_VISIBLE_DEVICES",
        {"torch": torch(available=False), "visible_devices": ""}),
    "PyTorch for AMD": Fault(
        "torch", "warning", "built for AMD cards", SETUP, {"torch": Torch("2.13.0+rocm7", hip="7.0", available=True)},
        laptop),
    "a card without its driver": Fault(
        "driver", "problem", "The GeForce RTX 3060 can't be used for training.", "ubuntu-drivers install",
        {**NOT_SEEN, "machine": machine(), "kernel_driver": None,
         "cards": (Card(NVIDIA, 0x2504, "GeForce RTX 3060", "nouveau"),)}, also=BLIND),
    "a driver that was updated and not loaded again": Fault(
        "driver", "problem", "The NVIDIA card can't be used.", "Restart the machine.",
        {**NOT_SEEN, "machine": replace(machine(), gpu_reason="The NVIDIA driver was updated, and its old version is "
                                        "still loaded. Restart the machine.")}, also=BLIND),
    "a lost card": Fault("driver", "problem", "The NVIDIA card can't be used.", "power cables",
                         {**NOT_SEEN, "machine": LOST}, also=BLIND),
    "one card of two is lost": Fault("driver", "problem", "An NVIDIA card can't be used.", "Restart",
                                     {"machine": replace(machine(12), gpu_reason=nvml.LOST)}),
    "two versions of the driver": Fault("two_drivers", "problem", "Two versions", "Restart",
                                        {"kernel_driver": "570.195.03"}),
    "a Linux driver inside WSL": Fault("two_drivers", "problem", "inside WSL", "apt purge",
                                       {"linux_driver_in_wsl": True}, wsl2),
    "a card too old for PyTorch's kernels": Fault(
        "generation", "problem", "no kernels for the GTX 1080", "UV_TORCH_BACKEND=cu126", {"machine": OLD_CARD},
        also=frozenset({"driver", "memory"})),
    "the same in Windows, where a space before && would belong to the value": Fault(
        "generation", "problem", "no kernels for the GTX 1080", 'set "UV_TORCH_BACKEND=cu126" && ',
        {"machine": OLD_CARD}, windows, frozenset({"driver", "memory"})),
    "a card too new for PyTorch's kernels": Fault(
        "generation", "problem", "no kernels for the RTX 6060", SETUP,
        {"machine": NEW_CARD, "torch": torch(architectures=KERNELS[:5])}, also=frozenset({"driver"})),
    "an AMD card": Fault("amd", "warning", "AMD Radeon RX 7900 XTX isn't used", "NVIDIA card",
                         {"cards": (Card(AMD, 0x744C, "Radeon RX 7900 XTX", "amdgpu"),)}, laptop),
    "an Intel card": Fault("intel", "warning", "Intel Arc B580 isn't used", "NVIDIA card",
                           {"cards": (Card(INTEL, 0xE20B, "Arc B580", "xe"),)}, laptop, frozenset({"amd"})),
    "bitsandbytes without CUDA": Fault("bitsandbytes", "problem", "can't use the card", SETUP,
                                       {"loaded": loaded("bitsandbytes", gpu=False)}),
    "a library that does not load": Fault("loads", "problem", "transformers", SETUP,
                                          {"loaded": loaded("transformers", error="ImportError: no regex")}),
    "PyTorch that does not load": Fault(
        "loads", "problem", "torch", SETUP, {"loaded": loaded("torch", error="OSError: libcudart.so.13")},
        also=frozenset({"torch"})),
    "no chat engine": Fault(
        "llama", "warning", "switched off", SETUP,
        {"engine": UserError("The chat engine is not set up: chat is switched off.", "No wheel."),
         "loaded": {name: each for name, each in desktop().loaded.items() if name != "llama_cpp"}},
        also=frozenset({"loads"})),
    "a library with a known security fault": Fault(
        "known_faults", "warning", "known security faults", SETUP,
        {"versions": {**desktop().versions, "torch": "2.5.1"}}),
    "another version than the tested one": Fault(
        "pins", "warning", "aren't the versions", SETUP, {"versions": {**desktop().versions, "peft": "0.17.0"}}),
    "a library that is missing": Fault(
        "pins", "warning", "aren't the versions", SETUP,
        {"versions": {name: each for name, each in desktop().versions.items() if name != "peft"}}),
    "Python of 32 bits": Fault("python", "problem", "32-bit", "64-bit", {"bits": 32}, windows),
    "less memory than twice the card's": Fault("memory", "warning", "less than advised for this graphics card", "swap",
                                               {"machine": machine(24, ram_gb=32)}, also=frozenset({"driver"})),
    "a container's limit of memory": Fault("memory_limit", "warning", "8 GB of 32 GB", "--memory",
                                           {"memory_limit": 8 * GB}),
    "little memory and no swap": Fault("swap", "warning", "no swap", "mkswap",
                                       {"machine": machine(ram_gb=7.6), "swap": 0}, laptop, frozenset({"memory"})),
    "a container's small /dev/shm": Fault("shared_memory", "warning", "/dev/shm has only 64 MB", "--shm-size",
                                          {"shared_memory": 64 * 1024**2}),
    "a processor without AVX2": Fault("processor", "problem", "lacks AVX2", "host", {"cpu_flags": frozenset({"avx"})}),
    "a laptop on its battery": Fault("power", "warning", "battery", "Plug it in", {"on_battery": True}, laptop),
    "a power profile that saves": Fault("power", "warning", "low-power", "powerprofilesctl set",
                                        {"power_profile": "low-power"}),
    "a folder that can't be written to": Fault("home", "problem", "can't be written to", "place FOLDER",
                                               {"home_fault": DENIED}),
    "a folder that is missing": Fault(
        "home", "problem", "is missing", "Connect",
        {"home_missing": UserError("The folder is missing.", "", "Connect the disk."), "home": None}),
    "a disk with little room": Fault("room", "warning", "Only 6 GB is free", "larger disk", {"free": 6 * GB}),
    "a full disk": Fault("room", "problem", "Only 1 GB is free", "larger disk", {"free": GB}),
    "a disk of another machine": Fault("disk", "warning", "another machine", "place FOLDER",
                                       {"network": True, "file_system": "nfs4"}),
    "a disk that is measured as slow": Fault("disk", "warning", "slow", "SSD", {"write_speed": 9e7}),
    "a spinning disk": Fault("disk", "warning", "spinning", "SSD", {"rotational": True, "write_speed": None}),
    "runs that everybody can read": Fault("privacy", "warning", "Other users", "chmod go-rwx",
                                          {"open_to_others": True}),
    "many finished jobs": Fault("jobs", "warning", "6 GB", "delete", {"jobs_size": 6 * GB}),
    "WSL without Windows' driver": Fault("wsl", "warning", NEWER.what, NEWER.remedy, {"wsl": (NEWER,)}, wsl2),
    "WSL 1": Fault("wsl", "problem", "WSL 1", "convert",
                   {"wsl": (Finding(FIRST_VERSION, "This is WSL 1.", "", "convert it"),)}, wsl2),
    "a clock of 1970": Fault("clock", "warning", "clock is wrong", "timedatectl", {"now": 3600.0, "newest_file": 0.0}),
    "files from the future": Fault("clock", "warning", "clock is wrong", "timedatectl",
                                   {"newest_file": NOW + 3 * DAY}),
    "file names that are not UTF-8": Fault("locale", "warning", "iso8859-1", "LANG=C.UTF-8",
                                           {"encoding": "iso8859-1"}),
    "a locale that is not installed": Fault("locale", "warning", "isn't installed", "reconfigure locales",
                                            {"locale_fault": "LANG is hi_IN.UTF-8, which this system doesn't have."}),
    "no font for two scripts": Fault("fonts", "warning", "no font for Tamil, Odia", "fonts-noto-core",
                                     {"scripts_without_font": ("Tamil", "Odia")}),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found_and_nothing_else(name: str):
    fault = FAULTS[name]
    before, after = examine(fault.here()), examine(replace(fault.here(), **fault.changes))
    (found,) = [line for line in after if line.state != "fine"]
    assert (found.code, found.state) == (fault.code, fault.state)
    assert fault.says in found.title
    assert fault.mends in f"{found.remedy} {found.command}" and found.remedy
    assert not found.command or (found.remedy[-1] in ":." and found.command == found.command.strip())
    changed = {fault.code, *fault.also}
    assert [line for line in after if line.code not in changed] == [line for line in before if line.code not in changed]


def test_there_are_enough_and_each_kind_of_line_has_one():
    assert len(FAULTS) >= 40
    codes = {line.code for here in healthy_machines.ALL.values() for line in examine(here())}
    assert codes - {fault.code for fault in FAULTS.values()} == {"cache"}  # which only says where they lie


def test_of_several_faults_each_is_found():
    planted = ("two versions of the driver", "a full disk", "no font for two scripts", "a processor without AVX2")
    changes = {name: value for fault in planted for name, value in FAULTS[fault].changes.items()}
    found = [line for line in examine(replace(desktop(), **changes)) if line.state != "fine"]
    assert [line.code for line in found] == ["two_drivers", "processor", "room", "fonts"]


def test_a_driver_too_old_for_any_pytorch_is_updated_first():
    facts = replace(desktop(), driver="390.157", kernel_driver="390.157", driver_cuda=(9, 1), torch=Torch("2.13.0+cpu"))
    (found,) = [line for line in examine(facts) if line.state != "fine"]
    assert found.remedy.startswith("The driver is too old for any build of PyTorch: update it first. "
                                   "Then run setup again")


def test_the_driver_that_is_needed_is_named():
    facts = replace(desktop(), driver_cuda=(12, 4), driver="550.120", kernel_driver="550.120")
    (found,) = [line for line in examine(facts) if line.state != "fine"]
    assert found.why == ("PyTorch 2.13.0+cu130 is built for CUDA 13.0, which needs driver 580 or newer. The installed "
                         "driver 550.120 supports CUDA up to 12.4.")


def test_commands_fit_the_folder(tmp_path: Path):
    facts = replace(desktop(), home=Path("/data/my runs"), open_to_others=True)
    (found,) = [line for line in examine(facts) if line.state != "fine"]
    assert found.command == "chmod go-rwx '/data/my runs'"
