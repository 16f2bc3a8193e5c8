"""Judges the graphics cards, their driver, and the build of PyTorch against both."""

from __future__ import annotations

from collections.abc import Iterator

from slmstudio.core import program
from slmstudio.core.hardware import guidance, nvml
from slmstudio.core.hardware.describe import gpu_chip, short_gpu_name
from slmstudio.core.hardware.doctor.facts import AMD, INTEL, NVIDIA, Card, Facts
from slmstudio.core.hardware.doctor.line import Line
from slmstudio.core.hardware.machine import Gpu
from slmstudio.core.i18n import noop, tr

CARD = noop("Graphics card")
LEAST_DRIVER = {11: 450, 12: 525, 13: 580}
"""CUDA's major version, and the oldest driver for programs built for any of its minor versions: NVIDIA's "CUDA
Compatibility", table of minor version compatibility."""
NO_FLASH = noop("This build of PyTorch has no FlashAttention and uses a slower kernel.")
OLD_BUILD = "cu126"
"""The last builds of PyTorch with kernels for cards before Turing are those for CUDA 12.6."""


def driver(facts: Facts) -> Iterator[Line]:
    """Whether NVIDIA's cards can be reached at all."""
    machine = facts.machine
    if machine is None:
        return
    nvidia = [card for card in facts.cards if card.vendor == NVIDIA]
    if machine.gpus and not machine.gpu_reason:
        versions = [f"Driver {facts.driver}." if facts.driver else "",
                    tr("It supports CUDA up to {dotted}.", dotted=_dotted(facts.driver_cuda)) if facts.driver_cuda else ""]
        yield Line("driver", CARD, f"{gpu_chip(machine)} works with its driver.", why=" ".join(filter(None, versions)))
    elif machine.gpu_reason and machine.gpu_reason != nvml.NO_DRIVER:
        why, _, remedy = machine.gpu_reason.partition(". ")
        yield Line("driver", CARD, "An NVIDIA card can't be used." if machine.gpus else
                   "The NVIDIA card can't be used.", "problem", f"{why.rstrip('.')}.",
                   remedy or "Restart the machine; if that doesn't help, install NVIDIA's newest driver.")
    elif nvidia:
        yield _without_driver(facts, nvidia[0])
    elif not facts.wsl:  # which speaks of it
        yield Line("driver", CARD, "There is no NVIDIA card here.", why=" ".join(guidance.advice(machine)[:1]))


def _without_driver(facts: Facts, card: Card) -> Line:
    name = card.name or "NVIDIA card"
    nouveau = card.driver == "nouveau"
    why = (tr("It runs with nouveau, the system's own driver, which can't compute.") if nouveau else
           tr("NVIDIA's driver isn't installed."))
    if facts.system != "Linux":
        remedy, command = tr("Install NVIDIA's driver from NVIDIA's website, then restart the machine."), ""
    else:
        remedy = tr("Install NVIDIA's driver, then restart the machine. This is the command on Ubuntu:")
        command = "sudo ubuntu-drivers install"
    return Line("driver", CARD, tr("The {name} can't be used for training.", name=name), "problem", why, remedy,
                command)


def two_drivers(facts: Facts) -> Iterator[Line]:
    """Two versions of the driver, or one of the wrong kind."""
    if facts.driver and facts.kernel_driver and facts.driver != facts.kernel_driver:
        yield Line("two_drivers", CARD, "Two versions of the NVIDIA driver are installed.", "problem",
                   f"The kernel has loaded {facts.kernel_driver}, and the libraries are of {facts.driver}: CUDA "
                   "doesn't start.",
                   "Restart the machine. If that doesn't help, remove all NVIDIA packages and install one driver.")
    if facts.linux_driver_in_wsl:
        yield Line("two_drivers", CARD, "A Linux driver is installed inside WSL.", "problem",
                   "It takes the place of Windows' driver, which is the only one that reaches the card from WSL.",
                   "Remove it, then run wsl --shutdown in PowerShell and start again. This is the command on Ubuntu:",
                   "sudo apt purge 'nvidia-*' 'libnvidia-*'")


def torch_build(facts: Facts) -> Iterator[Line]:
    """Whether this build of PyTorch can use the cards that work."""
    torch, machine = facts.torch, facts.machine
    if torch is None or machine is None or ((loaded := facts.loaded.get("torch")) and loaded.error):
        return  # `checks_libraries.loads` says what doesn't load
    name = f"PyTorch {torch.version}"
    if torch.hip:
        yield Line("torch", CARD, f"{name} is built for AMD cards.", "warning",
                   "It may train as far as PyTorch itself does; SLM Studio isn't tested with it, and 4-bit training "
                   "and the memory estimate are made for NVIDIA cards.",
                   "If something fails, use the build for the processor or an NVIDIA card: set up again.",
                   program.setup_command())
    elif not machine.gpus:
        yield Line("torch", CARD, f"{name} computes on the processor.")
    elif torch.cuda is None:
        yield _cpu_only(facts, name, machine.gpus[0])
    elif _too_old(facts):
        yield _old_driver(facts, name, torch.cuda)
    elif torch.available is False:
        yield _unavailable(facts, name, torch.cuda, torch.why)
    else:
        yield Line("torch", CARD, f"{name}, built for CUDA {torch.cuda}, fits the driver." if torch.available is None
                   else f"{name}, built for CUDA {torch.cuda}, computes on the card.")


def _cpu_only(facts: Facts, name: str, gpu: Gpu) -> Line:
    old = facts.driver_cuda is not None and facts.driver_cuda[0] < min(LEAST_DRIVER)
    first = tr("The driver is too old for any build of PyTorch: update it first. Then set up again") if old else tr("Set up again, connected to the network")
    return Line("torch", CARD,
                tr("PyTorch can't use the {short_gpu_name}: this is the CPU-only build.",
                   short_gpu_name=short_gpu_name(gpu.name)), "problem",
                tr("{name} was installed without CUDA, so training runs on the processor and takes 10 to 100 times as "
                   "long.", name=name), tr("{first}. This fetches the build that fits the driver:", first=first),
                program.setup_command())


def _too_old(facts: Facts) -> bool:
    """By major versions: from CUDA 11 on, any driver of a major version runs what is built for its minor versions."""
    assert facts.torch is not None and facts.torch.cuda is not None
    return facts.driver_cuda is not None and facts.driver_cuda[0] < int(facts.torch.cuda.split(".")[0])


def _old_driver(facts: Facts, name: str, cuda: str) -> Line:
    assert facts.driver_cuda is not None
    least = LEAST_DRIVER.get(int(cuda.split(".")[0]))
    needs = f"driver {least} or newer" if least else "a newer driver"
    where = " in Windows, not inside WSL" if facts.machine and facts.machine.is_wsl else ""
    return Line("torch", CARD, tr("The NVIDIA driver is too old for this PyTorch."), "problem",
                tr("{name} is built for CUDA {cuda}, which needs {needs}; this is {driver} with CUDA up to {dotted}.",
                   name=name, cuda=cuda, needs=needs, driver=facts.driver or "one", dotted=_dotted(facts.driver_cuda)),
                tr("Update the NVIDIA driver{where} and restart the machine. If it can't be updated, set up again: "
                   "that fetches a build for this driver where there is one.", where=where), program.setup_command())


def _unavailable(facts: Facts, name: str, cuda: str, why: str) -> Line:
    if facts.visible_devices is not None and facts.visible_devices.strip() in ("", "-1", "NoDevFiles"):
        return Line("torch", CARD, tr("The variable CUDA_VISIBLE_DEVICES hides every card."), "problem",
                    tr('It is set to "{visible_devices}", so PyTorch sees no card and trains on the processor.',
                       visible_devices=facts.visible_devices),
                    tr("Remove the variable where it was set, and start SLM Studio again. In a terminal:"),
                    "set CUDA_VISIBLE_DEVICES=" if facts.system == "Windows" else "unset CUDA_VISIBLE_DEVICES")
    said = tr(" PyTorch says: {why}.", why=why.rstrip(".")) if why else ""
    return Line("torch", CARD, tr("PyTorch can't use the card."), "problem", f"{name} is built for CUDA {cuda}.{said}",
                tr("Restart the machine. If that doesn't help, update the NVIDIA driver, then set up again:"),
                program.setup_command())


def generation(facts: Facts) -> Iterator[Line]:
    """What follows from each card's compute capability, and whether this PyTorch has kernels for it."""
    machine = facts.machine
    for gpu in machine.gpus if machine else ():
        capability, name = gpu.compute_capability, short_gpu_name(gpu.name)
        if capability is None:
            continue
        built = facts.torch.architectures if facts.torch else ()
        if built and not runs_on(capability, built):
            older = capability < min(map(_number, built))
            again = program.setup_command()
            command = f'set "UV_TORCH_BACKEND={OLD_BUILD}" && {again}' if facts.system == "Windows" else \
                f"UV_TORCH_BACKEND={OLD_BUILD} {again}"
            yield Line("generation", CARD, f"This PyTorch has no kernels for the {name}.", "problem",
                       f"The card has compute capability {_dotted(capability)}; this build is for "
                       f"{', '.join(_dotted(_number(name)) for name in built)}.",
                       "Install the build for older cards:" if older else
                       "Update the NVIDIA driver and set up again, for a newer PyTorch:", command if older else again)
            continue
        title = tr("{name} has compute capability {dotted}.", name=name, dotted=_dotted(capability))
        flash = [NO_FLASH] if capability >= guidance.AMPERE and facts.torch and facts.torch.flash is False else []
        yield Line("generation", CARD, title,
                   why=" ".join([*guidance.generation(gpu), *flash, *guidance.card_memory(gpu)]))


def runs_on(capability: tuple[int, int], built: tuple[str, ...]) -> bool:
    """Whether a build with these architectures runs on a card.

    A binary (sm_86) runs on its own major version from its minor version on, and PTX (compute_90) on every card from
    there on: CUDA C++ Programming Guide, "Binary Compatibility" and "PTX Compatibility".

    >>> runs_on((8, 9), ("sm_80", "sm_90")), runs_on((6, 1), ("sm_75", "compute_90"))
    (True, False)
    """
    return any((name.startswith("compute_") and capability >= _number(name))
               or (capability[0] == _number(name)[0] and capability[1] >= _number(name)[1]) for name in built)


def others(facts: Facts) -> Iterator[Line]:
    """AMD's and Intel's cards: what works with them here, and what doesn't."""
    trains_elsewhere = bool(facts.machine and facts.machine.gpus)
    for card in facts.cards:
        if card.vendor not in (AMD, INTEL):
            continue
        maker = "AMD" if card.vendor == AMD else "Intel"
        name = f"{maker} {card.name or 'graphics card'}"
        if card.integrated or trains_elsewhere or (facts.torch and facts.torch.hip):
            yield Line(maker.lower(), CARD, f"{name} drives the display.",
                       why="Training here uses NVIDIA cards or the processor.")
            continue
        build = "ROCm" if card.vendor == AMD else "XPU"
        yield Line(maker.lower(), CARD, f"{name} isn't used for training.", "warning",
                   f"Training uses NVIDIA cards. This one would need PyTorch's {build} build, which isn't supported "
                   "here; 4-bit training and the memory estimate don't know it. Everything works on the processor, "
                   "slower; an exported GGUF runs on this card in other programs, such as those built with Vulkan.",
                   "Train small models (up to 0.5 B parameters) on the processor, or use an NVIDIA card.")


def _number(name: str) -> tuple[int, int]:
    """
    >>> _number("sm_86"), _number("compute_120"), _number("sm_90a")
    ((8, 6), (12, 0), (9, 0))
    """
    digits = "".join(filter(str.isdigit, name.partition("_")[2])) or "0"
    return int(digits[:-1] or 0), int(digits[-1])


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


CHECKS = (driver, two_drivers, torch_build, generation, others)
