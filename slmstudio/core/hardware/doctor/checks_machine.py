"""Judges processor, memory and power."""

from __future__ import annotations

from collections.abc import Iterator

from slmstudio.core.hardware import guidance
from slmstudio.core.hardware.doctor.facts import Facts
from slmstudio.core.hardware.doctor.line import Line
from slmstudio.core.i18n import noop, tr
from slmstudio.core.units import format_bytes

MACHINE = noop("Memory and processor")
GB = 1024**3
ENOUGH_WITHOUT_SWAP = 16 * GB
LITTLE_SHARED = 64 * 1024**2
"""Docker's /dev/shm has so much unless told otherwise."""
SLOW_PROFILES = ("low-power", "quiet", "cool")
"""As the kernel names them: Documentation/ABI/testing/sysfs-class-platform-profile."""


def main_memory(facts: Facts) -> Iterator[Line]:
    """Against twice the graphics card's."""
    machine = facts.machine
    if machine is None:
        return
    size = format_bytes(machine.ram_total)
    if said := " ".join(guidance.main_memory(machine)):
        yield Line("memory", MACHINE, f"{size} of main memory is less than advised for this graphics card.", "warning",
                   said,
                   "Training itself works. If merging or exporting a large model runs out of memory, add main memory "
                   "or swap, or choose a smaller model.")
    else:
        yield Line("memory", MACHINE, f"{size} of main memory.")


def memory_limit(facts: Facts) -> Iterator[Line]:
    """A container's limit, which programs that ask for the machine's memory don't see."""
    machine = facts.machine
    if machine is None or facts.memory_limit is None or facts.memory_limit >= machine.ram_total:
        return
    yield Line("memory_limit", MACHINE, f"Only {format_bytes(facts.memory_limit)} of {format_bytes(machine.ram_total)} "
               "of memory may be used here.", "warning",
               "A container or a service limits it; a program that takes more is killed without a message.",
               "Raise the limit, in Docker with --memory, or choose models that fit into it.")


def swap(facts: Facts) -> Iterator[Line]:
    """Some room for the moment of an export, where there is little memory."""
    machine = facts.machine
    if machine is None or facts.swap is None or machine.is_wsl:
        return
    if facts.swap or machine.ram_total >= ENOUGH_WITHOUT_SWAP * guidance.ROUND:
        yield Line("swap", MACHINE, f"{format_bytes(facts.swap)} of swap." if facts.swap else
                   "No swap, and with this much memory none is needed.")
        return
    yield Line("swap", MACHINE, "There is no swap.", "warning",
               f"With {format_bytes(machine.ram_total)} of memory, a merge or an export may need more for a moment; "
               "without swap the system then ends it.",
               "Add a swap file of 8 GB. On Linux, all four commands at once:",
               "sudo fallocate -l 8G /swapfile && sudo chmod 600 /swapfile && sudo mkswap /swapfile && "
               "sudo swapon /swapfile" if facts.system == "Linux" else "")


def shared_memory(facts: Facts) -> Iterator[Line]:
    """/dev/shm, by which processes of one run share tensors."""
    if facts.shared_memory is None or facts.shared_memory > LITTLE_SHARED:
        return
    yield Line("shared_memory", MACHINE, f"/dev/shm has only {format_bytes(facts.shared_memory)}.", "warning",
               "Training on several cards passes tensors through it and fails with a bus error when it is full.",
               "Start the container with more: --shm-size=2g in Docker.")


def processor(facts: Facts) -> Iterator[Line]:
    """What it can compute with."""
    machine = facts.machine
    if machine is None:
        return
    if facts.cpu_flags and "avx2" not in facts.cpu_flags:
        yield Line("processor", MACHINE, "The processor lacks AVX2.", "problem",
                   f"{machine.cpu_name} can't run builds of llama.cpp made for AVX2, which end at once; PyTorch "
                   "computes several times slower.",
                   "In a virtual machine, pass the processor through to it (CPU type \"host\"). Otherwise use a "
                   "machine whose processor is from 2015 or newer.")
        return
    bf16 = tr("It computes bf16 itself.") if machine.cpu_bf16 else tr("It has no bf16 arithmetic, so training on it "
                                                                      "uses fp32.")
    yield Line("processor", MACHINE, f"{machine.cpu_name}, {machine.physical_cores} "
               f"{'core' if machine.physical_cores == 1 else 'cores'}.", why=bf16 if facts.system == "Linux" else "")


def power(facts: Facts) -> Iterator[Line]:
    """A laptop's battery and its power profile."""
    if facts.on_battery:
        yield Line("power", MACHINE, "This machine runs on its battery.", "warning",
                   "Most laptops then slow down processor and graphics card, and a long run ends with the battery.",
                   "Plug it in before you train.")
    elif facts.power_profile in SLOW_PROFILES:
        yield Line("power", MACHINE, f"The power profile is \"{facts.power_profile}\".", "warning",
                   "It holds the processor, and in some laptops the graphics card, below its speed.",
                   "Choose a faster one in the system's power settings. On Linux:",
                   "powerprofilesctl set balanced" if facts.system == "Linux" else "")
    elif facts.on_battery is False or facts.power_profile:
        yield Line("power", MACHINE, "Power: " + (f"profile \"{facts.power_profile}\"." if facts.power_profile else
                                                  "plugged in."))


CHECKS = (main_memory, memory_limit, swap, shared_memory, processor, power)
