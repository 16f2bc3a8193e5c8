"""The machine in few words, for the header and the status bar."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from slmstudio.core.i18n import noop, ntr, tr
from slmstudio.core.units import format_bytes

if TYPE_CHECKING:  # the window names the machine before it reads it
    from slmstudio.core.hardware.machine import Machine

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
