"""Judges processor, memory and power."""

from __future__ import annotations

from collections.abc import Iterator

from slmstudio.core.hardware import guidance
from slmstudio.core.hardware.doctor.facts import Facts
from slmstudio.core.hardware.doctor.line import TOPICS, Line
from slmstudio.core.i18n import ntr, tr
from slmstudio.core.units import format_bytes

MACHINE = TOPICS[2]
GB = 1024**3
ENOUGH_WITHOUT_SWAP = 16 * GB
LITTLE_SHARED = 64 * 1024**2
"""Docker's /dev/shm has this much unless told otherwise."""
SLOW_PROFILES = ("low-power", "quiet", "cool")
"""As the kernel names them: Documentation/ABI/testing/sysfs-class-platform-profile."""


def main_memory(facts: Facts) -> Iterator[Line]:
    """Against twice the graphics card's."""
    machine = facts.machine
    if machine is None:
        return
    size = format_bytes(machine.ram_total)
    if said := " ".join(guidance.main_memory(machine)):
        yield Line("memory", MACHINE, tr("{size} of main memory is less than advised for this graphics card.",
                                         size=size), "warning", said,
                   tr("Training itself works. If merging or exporting a large model runs out of memory, add main "
                      "memory or swap, or choose a smaller model."))
    else:
        yield Line("memory", MACHINE, tr("{size} of main memory.", size=size))


def memory_limit(facts: Facts) -> Iterator[Line]:
    """A container's limit, which programs that ask for the machine's memory don't see."""
    machine = facts.machine
    if machine is None or facts.memory_limit is None or facts.memory_limit >= machine.ram_total:
        return
    yield Line("memory_limit", MACHINE, tr("Only {limit} of {total} of memory can be used on this machine.",
                                           limit=format_bytes(facts.memory_limit),
                                           total=format_bytes(machine.ram_total)), "warning",
               tr("A container or a service limits it. A program that takes more is killed without a message."),
               tr("Raise the limit, in Docker with --memory, or choose models that fit into it."))


def swap(facts: Facts) -> Iterator[Line]:
    """Some room for the moment of an export, where there is little memory."""
    machine = facts.machine
    if machine is None or facts.swap is None or machine.is_wsl:
        return
    if facts.swap or machine.ram_total >= ENOUGH_WITHOUT_SWAP * guidance.ROUND:
        yield Line("swap", MACHINE, tr("{size} of swap.", size=format_bytes(facts.swap)) if facts.swap else
                   tr("There is no swap, and with this much memory, none is needed."))
        return
    yield Line("swap", MACHINE, tr("There is no swap."), "warning",
               tr("With {size} of memory, a merge or an export may briefly need more. Without swap, the system then "
                  "ends it.", size=format_bytes(machine.ram_total)),
               tr("Add a swap file of 8 GB. On Linux, all four commands at once:"),
               "sudo fallocate -l 8G /swapfile && sudo chmod 600 /swapfile && sudo mkswap /swapfile && "
               "sudo swapon /swapfile" if facts.system == "Linux" else "")


def shared_memory(facts: Facts) -> Iterator[Line]:
    """/dev/shm, by which processes of one run share tensors."""
    if facts.shared_memory is None or facts.shared_memory > LITTLE_SHARED:
        return
    yield Line("shared_memory", MACHINE, tr("/dev/shm has only {size}.", size=format_bytes(facts.shared_memory)),
               "warning",
               tr("Training on several cards passes tensors through it and fails with a bus error when it's full."),
               tr("Start the container with more: --shm-size=2g in Docker."))


def processor(facts: Facts) -> Iterator[Line]:
    machine = facts.machine
    if machine is None:
        return
    if facts.cpu_flags and "avx2" not in facts.cpu_flags:
        yield Line("processor", MACHINE, tr("The processor lacks AVX2."), "problem",
                   tr("{processor} can't run builds of llama.cpp made for AVX2: they crash immediately. PyTorch is "
                      "several times slower.", processor=machine.cpu_name),
                   tr('In a virtual machine, pass the processor through to it (CPU type "host"). Otherwise, use a '
                      "machine whose processor is from 2015 or newer."))
        return
    bf16 = (tr("It computes in bf16.") if machine.cpu_bf16 else
            tr("It has no bf16 arithmetic, so training on it uses fp32."))
    yield Line("processor", MACHINE, ntr("{processor}, {n} core.", "{processor}, {n} cores.", machine.physical_cores,
                                         processor=machine.cpu_name), why=bf16 if facts.system == "Linux" else "")


def power(facts: Facts) -> Iterator[Line]:
    if facts.on_battery:
        yield Line("power", MACHINE, tr("This machine is running on battery."), "warning",
                   tr("Most laptops then slow down the processor and the graphics card, and a long run ends when the "
                      "battery is empty."), tr("Plug it in before you train."))
    elif facts.power_profile in SLOW_PROFILES:
        yield Line("power", MACHINE, tr('The power profile is "{profile}".', profile=facts.power_profile), "warning",
                   tr("It slows down the processor and, in some laptops, the graphics card."),
                   tr("Choose a faster one in the system's power settings. On Linux:"),
                   "powerprofilesctl set balanced" if facts.system == "Linux" else "")
    elif facts.on_battery is False or facts.power_profile:
        yield Line("power", MACHINE, tr('Power: profile "{profile}".', profile=facts.power_profile)
                   if facts.power_profile else tr("Power: plugged in."))


CHECKS = (main_memory, memory_limit, swap, shared_memory, processor, power)
