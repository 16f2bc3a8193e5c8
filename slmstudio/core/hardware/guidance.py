"""What a machine is good for: its card with the installed PyTorch, its memory and disk, and how long training takes."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import time
from collections import Counter
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from slmstudio.core.hardware.machine import Gpu, Machine
from slmstudio.core.i18n import join_sentences, noop, ntr, tr
from slmstudio.core.units import format_bytes, format_count

# -- What a card and the installed PyTorch are good for: one choice for the plan and the worker, with its reason.

Capability = tuple[int, int] | None
"""A card's compute capability, such as (8, 6); None for the processor."""
VARLEN, FLEX, PER_ROW = "varlen", "flex", "per_row"
VARLEN_TORCH = 2, 10
VOLTA, AMPERE = (7, 0), (8, 0)
"""Compute capabilities from which a card has Triton's kernels; and bf16 and FlashAttention."""
FLASH = sys.platform != "win32"
"""Whether PyTorch has the kernels of FlashAttention, on which variable-length attention runs too. Its builds for
Windows leave them out (PyTorch's CMakeLists.txt: USE_FLASH_ATTENTION needs "NOT MSVC")."""
NO_FLASH = noop("This build of PyTorch has no FlashAttention and uses a slower kernel.")


@dataclass(frozen=True)
class Installed:
    """
    Attributes:
        torch: its version, as (2, 13); (0, 0) where it isn't known.
        triton: whether the compiler of FlexAttention and of Liger's kernels is there; Windows has none.
        flash: as `FLASH`.
    """

    torch: tuple[int, int]
    triton: bool
    liger: bool
    flash: bool = FLASH

    @classmethod
    def here(cls) -> Installed:
        try:
            major, minor = metadata.version("torch").split(".")[:2]
            version = int(major), int(minor)
        except (metadata.PackageNotFoundError, ValueError):
            version = 0, 0
        return cls(version, *(importlib.util.find_spec(name) is not None for name in ("triton", "liger_kernel")))


@dataclass(frozen=True)
class PackedAttention:
    """
    Attributes:
        name: `VARLEN`, `FLEX` or `PER_ROW`.
        reason: why, in a sentence.
    """

    name: str
    reason: str


def packed_attention(capability: Capability, precision: str, installed: Installed) -> PackedAttention:
    """How packed rows are kept apart."""
    version = ".".join(map(str, installed.torch))
    if capability is None:
        return PackedAttention(PER_ROW, tr("On the processor, each row is processed by itself."))
    number = ".".join(map(str, capability))
    if capability >= AMPERE and precision != "fp32" and installed.torch >= VARLEN_TORCH and installed.flash:
        return PackedAttention(VARLEN, tr("This card (compute capability {capability}) and PyTorch {version} support "
                              "variable-length attention for packed rows.", capability=number, version=version))
    why = (tr("This card (compute capability {capability}) is older than Ampere.", capability=number)
           if capability < AMPERE else
           tr("Variable-length attention doesn't work in fp32.") if precision == "fp32" else
           tr(NO_FLASH) if not installed.flash else
           tr("PyTorch {version} doesn't have variable-length attention yet.", version=version))
    if capability >= VOLTA and installed.triton:
        return PackedAttention(FLEX, join_sentences(why, tr("FlexAttention keeps packed rows apart instead.")))
    lacking = (tr("Triton, which FlexAttention needs, is missing, so each row is processed by itself.")
               if capability >= VOLTA else
               tr("It's also too old for FlexAttention, so each row is processed by itself."))
    return PackedAttention(PER_ROW, join_sentences(why, lacking))


def liger(capability: Capability, installed: Installed) -> tuple[bool, str]:
    """Whether Liger's kernels are used, and why."""
    if capability is None:
        return False, tr("Only for NVIDIA GPUs.")
    if not installed.liger or not installed.triton:
        return False, tr("{library} isn't installed (the extra “gpu”).",
                         library="Triton" if installed.liger else "Liger")
    if capability < VOLTA:
        return False, tr("This card is older than Volta, which Triton's kernels need.")
    return True, tr("It's installed. It takes less memory, and makes norms, rotations and the loss faster.")


# -- How long training takes on a machine, roughly, before anything was measured there.

CORE_FLOPS = {"fp32": 10e9, "bf16": 20e9}
"""Operations a second that training gets from one core. An assumption on the low side: 2 cores with AMX that other
programs used too gave 20e9 each in bf16."""
CARD_FLOPS, OLD_CARD_FLOPS = 10e12, 2e12
"""The same of a card from Ampere on, and of an older one: assumptions, since a driver doesn't tell."""
PER_WEIGHT = {"lora": 4, "qlora": 6, "full": 6, "scratch": 6}
"""Operations a token and weight: 2 forward, 2 for the gradients behind it, 2 for its own where all weights learn
(Kaplan et al. 2020, arXiv 2001.08361, section 2.1); weights in 4 bits are unpacked twice."""
USUAL_ROWS, USUAL_TOKENS = 1_000, 300_000
"""What is learned while no data is chosen: 1,000 rows of 300 tokens, once."""
EVENING = 4 * 3600.0
"""Seconds beyond which training is slow: who begins after work doesn't see it end before the night."""
ROUGHLY = 3.0
"""A rough estimate is good to this factor."""
LONG = ROUGHLY * EVENING
"""Rough seconds beyond which an evening surely isn't enough."""
SIZES = (0.1e9, 0.3e9, 0.5e9, 1e9, 1.7e9, 4e9, 8e9)
"""Parameters of the models that people choose from."""


def rough_seconds(parameters: int, tokens: float, machine: Machine, method: str = "lora", *,
                  on_gpu: bool | None = None) -> float:
    """Seconds of training on this many tokens, good to a factor of `ROUGHLY`.

    Args:
        on_gpu: None takes the machine's card where there is one.
    """
    return PER_WEIGHT[method] * parameters * tokens / _flops(machine, bool(machine.gpus) if on_gpu is None else on_gpu)


def largest_here(machine: Machine) -> float:
    """Parameters of the largest model that an evening is enough for on this machine's processor."""
    return max((size for size in SIZES if rough_seconds(int(size), USUAL_TOKENS, machine, on_gpu=False) <= LONG),
               default=SIZES[0])


def _flops(machine: Machine, on_gpu: bool) -> float:
    if on_gpu and machine.gpus:
        return CARD_FLOPS if (machine.gpus[0].compute_capability or (8, 0)) >= (8, 0) else OLD_CARD_FLOPS
    return machine.physical_cores * CORE_FLOPS["bf16" if machine.cpu_bf16 else "fp32"]


# -- The machine in few words, for the header and the status bar.

NO_GPU = noop("no NVIDIA GPU")


def short_gpu_name(name: str) -> str:
    """A card's name as its owner says it.

    >>> short_gpu_name("NVIDIA GeForce RTX 3060"), short_gpu_name("NVIDIA H100 80GB HBM3")
    ('RTX 3060', 'H100')
    """
    name = re.sub(r"^(NVIDIA|Tesla|Quadro)\s+", "", name.strip())
    return re.sub(r"^GeForce\s+|\s+GPU$|[\s-]\d+GB\b(\s+HBM\w*)?", "", name)


def gpu_chip(machine: Machine) -> str:
    """The NVIDIA cards: "RTX 3060 · 12 GB", "2 × RTX 4090 · 24 GB", or "no NVIDIA GPU".

    The memory is a round number, as on the box: the driver keeps some of it for itself.
    """
    cards = [short_gpu_name(gpu.name) + (f" · {round(gpu.memory_total / 1024**3)} GB" if gpu.memory_total else "")
             for gpu in machine.gpus]
    kinds = Counter(cards).items()
    return ", ".join(card if number == 1 else f"{number} × {card}" for card, number in kinds) or tr(NO_GPU)


def cpu_chip(machine: Machine) -> str:
    """Processor and memory: "Intel Core i5-10400 · 6 cores · 15.9 GB"."""
    cores = ntr("{n} core", "{n} cores", machine.physical_cores)
    return f"{machine.cpu_name} · {cores} · {format_bytes(machine.ram_total)}"


def memory_of(used: int, total: int) -> str:
    """How much of a memory is taken: "8.2 of 12 GB", or "512 MB of 12 GB"."""
    taken, whole = format_bytes(used), format_bytes(total)
    number, unit = taken.split(" ")
    return tr("{used} of {total}", used=number if whole.endswith(f" {unit}") else taken, total=whole)


def memory_left(free: int, total: int) -> str:
    """How much of a memory is left: "11.2 GB of 12 free"."""
    left, whole = format_bytes(free), format_bytes(total)
    unit = left.split(" ")[1]
    return tr("{left} of {total} free", left=left, total=whole.removesuffix(f" {unit}"))


ROUND = 0.9
"""What a system says about its memory, as a share of what was bought: firmware and graphics keep some of it."""
_GB = 1024**3
MEASURED = 256 * 1024**2
"""Bytes that are written to measure a disk."""
FAST, SLOW = 800e6, 250e6
"""Bytes a second: NVMe writes more than the first, a spinning disk less than the second."""


def advice(machine: Machine) -> list[str]:
    """Sentences about this machine, the most important first; nothing is measured."""
    if not machine.gpus:
        return [machine.gpu_reason or tr("There is no NVIDIA GPU here."),
                tr("Training runs on the processor: choose a model of at most {size} parameters, and start with a few "
                   "rows.", size=format_count(largest_here(machine))),
                *([] if machine.cpu_bf16 else [tr("This processor has no bf16 arithmetic, so it computes in fp32, "
                                                  "which takes twice the memory.")])]
    first = machine.gpus[0]
    return [*generation(first), *card_memory(first), *main_memory(machine)]


def generation(gpu: Gpu) -> list[str]:
    """What a card's compute capability allows."""
    name, capability = short_gpu_name(gpu.name), gpu.compute_capability
    if capability is None:
        return []
    if capability >= AMPERE:
        return [tr("{gpu} computes in bf16, which has the range of fp32, and is new enough for FlashAttention.",
                   gpu=name)]
    return [tr("{gpu} is older than Ampere (compute capability {capability}; bf16 and FlashAttention need 8.0): it "
               "trains in fp16 with loss scaling, and PyTorch's own attention is used.", gpu=name,
               capability=f"{capability[0]}.{capability[1]}")]


def card_memory(gpu: Gpu) -> list[str]:
    """What 8 GB can do, and less. Larger cards need no advice: the list of models says what fits."""
    size = round((gpu.memory_total or 0) / _GB)
    if not size or size > 8:
        return []
    if size == 8:
        fits = tr("With {size} GB and rows of 1,024 tokens, QLoRA tunes models of up to 4 B parameters, and LoRA those "
                  "of up to 1.7 B.", size=size)
    elif size >= 6:
        fits = tr("With {size} GB and rows of 1,024 tokens, QLoRA tunes models of up to 1.7 B parameters.", size=size)
    else:
        fits = tr("With {size} GB and rows of 1,024 tokens, LoRA tunes models of up to 0.5 B parameters.", size=size)
    return [fits, tr("Close other programs that use the GPU: a browser may take 1 GB of it.")]


def main_memory(machine: Machine) -> list[str]:
    """At least twice the GPU's: a base is read, merged and exported there, and paged optimizers spill into it."""
    largest = max((gpu.memory_total or 0 for gpu in machine.gpus), default=0)
    if machine.ram_total >= 2 * largest * ROUND:
        return []
    return [tr("This machine has {size} of main memory. At least twice the GPU's memory is advised, {advised} GB here: "
               "models are read, merged and exported in it.", size=format_bytes(machine.ram_total),
               advised=round(2 * largest / _GB))]


def write_speed(folder: Path, size: int = MEASURED) -> float:
    """Bytes a second that the disk of a folder really takes, flushed to it; writes `size` bytes there and removes them.

    Raises:
        OSError: the folder can't be written to, or its disk is full.
    """
    block = os.urandom(1024**2)  # what can't be compressed, as weights can't
    file = folder / f".write-speed-{os.getpid()}"
    try:
        began = time.perf_counter()
        with open(file, "wb") as opened:
            for _ in range(size // len(block)):
                opened.write(block)
            opened.flush()
            os.fsync(opened.fileno())
        return size / (time.perf_counter() - began)
    finally:
        file.unlink(missing_ok=True)


def disk_advice(speed: float) -> str:
    """A sentence on a disk for checkpoints.

    Args:
        speed: bytes a second, as `write_speed` measured it.
    """
    size = format_bytes(speed)
    if speed >= FAST:
        return tr("The disk for runs writes {size} per second: fast enough for checkpoints of any size.", size=size)
    if speed >= SLOW:
        return tr("The disk for runs writes {size} per second: enough for adapters. Full training of large models "
                  "needs NVMe, as its checkpoints take 12 bytes per parameter.", size=size)
    return tr("The disk for runs writes {size} per second, which is slow. Keep runs on an SSD, ideally NVMe: training "
              "waits while a checkpoint is being written.", size=size)
