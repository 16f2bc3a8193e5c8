"""Judges the graphics cards, their driver, and the build of PyTorch against both."""

from __future__ import annotations

import re
from collections.abc import Iterator

from slmstudio.core import program
from slmstudio.core.hardware import guidance, nvml
from slmstudio.core.hardware.doctor.facts import AMD, INTEL, NVIDIA, TOPICS, Card, Facts, Line
from slmstudio.core.hardware.guidance import NO_FLASH, SIZES, gpu_chip, largest_here, short_gpu_name
from slmstudio.core.hardware.machine import HIDDEN, Gpu
from slmstudio.core.i18n import tr
from slmstudio.core.units import format_count

CARD = TOPICS[0]
LEAST_DRIVER = {11: 450, 12: 525, 13: 580}
"""CUDA's major version, and the oldest driver for programs built for any of its minor versions: NVIDIA's "CUDA
Compatibility", table of minor version compatibility."""
_SENTENCE_END = re.compile(r"(?<=[.।]) ")
OLD_BUILD = "cu126"
"""The last builds of PyTorch with kernels for cards before Turing are those for CUDA 12.6."""


def driver(facts: Facts) -> Iterator[Line]:
    """Whether NVIDIA's cards can be reached at all."""
    machine = facts.machine
    if machine is None:
        return
    nvidia = [card for card in facts.cards if card.vendor == NVIDIA]
    if machine.gpus and not machine.gpu_reason:
        versions = [tr("Driver {version}.", version=facts.driver) if facts.driver else "",
                    tr("It supports CUDA up to {version}.", version=_dotted(facts.driver_cuda))
                    if facts.driver_cuda else ""]
        yield Line("driver", CARD, tr("{card} works with its driver.", card=gpu_chip(machine)),
                   why=" ".join(filter(None, versions)))
    elif machine.gpu_reason and machine.gpu_reason != tr(nvml.NO_DRIVER):
        why, _, remedy = _SENTENCE_END.sub("\n", machine.gpu_reason, count=1).partition("\n")
        yield Line("driver", CARD, tr("An NVIDIA card can't be used.") if machine.gpus else
                   tr("The NVIDIA card can't be used."), "problem", why,
                   remedy or tr("Restart the machine. If that doesn't help, install NVIDIA's newest driver."))
    elif nvidia:
        yield _without_driver(facts, nvidia[0])
    elif not facts.wsl:  # which speaks of it
        yield Line("driver", CARD, tr("There is no NVIDIA card here."), why=" ".join(guidance.advice(machine)[:2]))


def _without_driver(facts: Facts, card: Card) -> Line:
    name = card.name or tr("NVIDIA card")
    nouveau = card.driver == "nouveau"
    why = (tr("It uses nouveau, the system's own driver, which can't run computations.") if nouveau else
           tr("NVIDIA's driver isn't installed."))
    if facts.system != "Linux":
        remedy, command = tr("Install NVIDIA's driver from NVIDIA's website, then restart the machine."), ""
    else:
        remedy = tr("Install NVIDIA's driver, then restart the machine. This is the command on Ubuntu:")
        command = "sudo ubuntu-drivers install"
    return Line("driver", CARD, tr("The {card} can't be used for training.", card=name), "problem", why, remedy,
                command)


def two_drivers(facts: Facts) -> Iterator[Line]:
    """Two versions of the driver, or one of the wrong kind."""
    if facts.driver and facts.kernel_driver and facts.driver != facts.kernel_driver:
        yield Line("two_drivers", CARD, tr("Two versions of the NVIDIA driver are installed."), "problem",
                   tr("The kernel has loaded {kernel}, and the libraries are from {libraries}: CUDA doesn't start.",
                      kernel=facts.kernel_driver, libraries=facts.driver),
                   tr("Restart the machine. If that doesn't help, remove all NVIDIA packages and install one driver."))
    if facts.linux_driver_in_wsl:
        yield Line("two_drivers", CARD, tr("A Linux driver is installed inside WSL."), "problem",
                   tr("It replaces Windows' driver, which is the only one that reaches the card from WSL."),
                   tr("Remove it, then run wsl --shutdown in PowerShell and start again. This is the command on "
                      "Ubuntu:"), "sudo apt purge 'nvidia-*' 'libnvidia-*'")


def torch_build(facts: Facts) -> Iterator[Line]:
    """Whether this build of PyTorch can use the cards that work."""
    torch, machine = facts.torch, facts.machine
    if torch is None or machine is None or ((loaded := facts.loaded.get("torch")) and loaded.error):
        return  # `checks_libraries.loads` says what doesn't load
    name = f"PyTorch {torch.version}"
    if torch.hip:
        yield Line("torch", CARD, tr("{pytorch} is built for AMD cards.", pytorch=name), "warning",
                   tr("Training on it may work as far as PyTorch supports it. SLM Studio isn't tested with it, and "
                      "4-bit training and the memory estimate are made for NVIDIA cards."),
                   tr("If something fails, run setup again to use the build for the processor or an NVIDIA card:"),
                   program.setup_command())
    elif not machine.gpus:
        yield Line("torch", CARD, tr("{pytorch} computes on the processor.", pytorch=name))
    elif torch.cuda is None:
        yield _cpu_only(facts, name, machine.gpus[0])
    elif _too_old(facts):
        yield _old_driver(facts, name, torch.cuda)
    elif torch.available is False:
        yield _unavailable(facts, name, torch.cuda, torch.why)
    else:
        yield Line("torch", CARD, tr("{pytorch}, built for CUDA {cuda}, fits the driver.", pytorch=name,
                                     cuda=torch.cuda) if torch.available is None else
                   tr("{pytorch}, built for CUDA {cuda}, computes on the card.", pytorch=name, cuda=torch.cuda))


def _cpu_only(facts: Facts, name: str, gpu: Gpu) -> Line:
    old = facts.driver_cuda is not None and facts.driver_cuda[0] < min(LEAST_DRIVER)
    remedy = (tr("The driver is too old for any build of PyTorch: update it first. Then run setup again, which "
                 "downloads the build that fits the driver:") if old else
              tr("Run setup again while connected to the network, which downloads the build that fits the driver:"))
    return Line("torch", CARD,
                tr("PyTorch can't use the {gpu}: this is the CPU-only build.", gpu=short_gpu_name(gpu.name)), "problem",
                tr("{pytorch} was installed without CUDA, so training runs on the processor and takes 10 to 100 times "
                   "as long.", pytorch=name), remedy, program.setup_command())


def _too_old(facts: Facts) -> bool:
    """By major versions: from CUDA 11 on, any driver of a major version runs what is built for its minor versions."""
    assert facts.torch is not None and facts.torch.cuda is not None
    return facts.driver_cuda is not None and facts.driver_cuda[0] < int(facts.torch.cuda.split(".")[0])


def _old_driver(facts: Facts, name: str, cuda: str) -> Line:
    assert facts.driver_cuda is not None
    least = LEAST_DRIVER.get(int(cuda.split(".")[0]))
    why = [tr("{pytorch} is built for CUDA {cuda}, which needs driver {least} or newer.", pytorch=name, cuda=cuda,
              least=least) if least else
           tr("{pytorch} is built for CUDA {cuda}, which needs a newer driver.", pytorch=name, cuda=cuda),
           tr("The installed driver {driver} supports CUDA up to {version}.", driver=facts.driver,
              version=_dotted(facts.driver_cuda)) if facts.driver else
           tr("The installed driver supports CUDA up to {version}.", version=_dotted(facts.driver_cuda))]
    remedy = (tr("Update the NVIDIA driver in Windows, not inside WSL, and restart the machine.")
              if facts.machine and facts.machine.is_wsl else tr("Update the NVIDIA driver and restart the machine."))
    instead = tr("If it can't be updated, run setup again: that downloads a build for this driver where there is one.")
    return Line("torch", CARD, tr("The NVIDIA driver is too old for this PyTorch."), "problem", " ".join(why),
                f"{remedy} {instead}", program.setup_command())


def _unavailable(facts: Facts, name: str, cuda: str, why: str) -> Line:
    if facts.visible_devices is not None and facts.visible_devices.strip() in ("", "-1", "NoDevFiles"):
        return Line("torch", CARD, tr(HIDDEN), "problem",
                    tr('It is set to "{value}", so PyTorch sees no card and trains on the processor.',
                       value=facts.visible_devices),
                    tr("Remove the variable where it was set, and start SLM Studio again. In a terminal:"),
                    "set CUDA_VISIBLE_DEVICES=" if facts.system == "Windows" else "unset CUDA_VISIBLE_DEVICES")
    said = [tr("{pytorch} is built for CUDA {cuda}.", pytorch=name, cuda=cuda)]
    if why:
        said.append(tr("PyTorch says: {message}.", message=why.rstrip(".")))
    return Line("torch", CARD, tr("PyTorch can't use the card."), "problem", " ".join(said),
                tr("Restart the machine. If that doesn't help, update the NVIDIA driver, then run setup again:"),
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
            yield Line("generation", CARD, tr("This PyTorch has no kernels for the {card}.", card=name), "problem",
                       tr("The card has compute capability {capability}; this build is for {built}.",
                          capability=_dotted(capability), built=", ".join(_dotted(_number(name)) for name in built)),
                       tr("Install the build for older cards:") if older else
                       tr("Update the NVIDIA driver and run setup again, for a newer PyTorch:"),
                       command if older else again)
            continue
        title = tr("{card} has compute capability {capability}.", card=name, capability=_dotted(capability))
        flash = [tr(NO_FLASH)] if capability >= guidance.AMPERE and facts.torch and facts.torch.flash is False else []
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
        name = f"{maker} {card.name}" if card.name else tr("{maker} graphics card", maker=maker)
        if card.integrated or trains_elsewhere or (facts.torch and facts.torch.hip):
            yield Line(maker.lower(), CARD, tr("{card} drives the display.", card=name),
                       why=tr("Training here uses NVIDIA cards or the processor."))
            continue
        build = "ROCm" if card.vendor == AMD else "XPU"
        yield Line(maker.lower(), CARD, tr("{card} isn't used for training.", card=name), "warning",
                   tr("Training uses NVIDIA cards. This one would need PyTorch's {build} build, which isn't "
                      "supported here; 4-bit training and the memory estimate don't know it. Everything works on the "
                      "processor, just more slowly. An exported GGUF runs on this card in other programs, such as "
                      "those built with Vulkan.", build=build),
                   tr("Train small models (up to {size} parameters) on the processor, or use an NVIDIA card.",
                      size=format_count(largest_here(facts.machine) if facts.machine else SIZES[0])))


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
