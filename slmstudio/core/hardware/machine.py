"""What this machine has: processor, memory, NVIDIA cards; which cards training may use, and in which order.

The driver counts cards by PCI address, and so does CUDA in a worker (`processes.worker_environment`). Where
CUDA_VISIBLE_DEVICES is set, it hides cards and orders them (CUDA programming guide, "CUDA environment variables");
where it isn't, the card that suits training best comes first. torch's `cuda:N` is found by its UUID, which is the same
for torch and the driver.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from slmstudio.core.hardware import nvml, wsl
from slmstudio.core.hardware.nvml import GpuMonitor
from slmstudio.core.i18n import noop, tr

CPUINFO = "SLMSTUDIO_CPUINFO"
"""Environment variable that names a file to read instead of /proc/cpuinfo, so that other processors can be tried."""

HIDDEN = noop("The variable CUDA_VISIBLE_DEVICES hides every card.")
VISIBLE_DEVICES = "CUDA_VISIBLE_DEVICES"
GENERATIONS = ((7, 0), (8, 0))
"""Compute capabilities from which more can be used: Triton's kernels, then bf16 and variable-length attention."""


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA card.

    Attributes:
        index: the driver's number of the card.
        memory_total, memory_free: bytes; None if the driver doesn't say.
        compute_capability: (8, 6) for an RTX 3060; None if the driver doesn't say.
        uuid: "GPU-…"; None if the driver doesn't say.
        power_limit_w: watts that it may draw; None if the driver doesn't say.
    """

    index: int
    name: str
    memory_total: int | None
    memory_free: int | None
    compute_capability: tuple[int, int] | None
    uuid: str | None = None
    power_limit_w: float | None = None


@dataclass(frozen=True)
class Machine:
    """This machine, as it was when it was looked at.

    Attributes:
        system: "Linux", "Windows" or "Darwin".
        ram_total, ram_free: bytes; free is what programs can get without swapping.
        cpu_bf16: the processor multiplies bfloat16 itself; known on Linux only, else False.
        gpus: the cards that training may use, the one that a single process uses first.
        is_wsl: Linux inside Windows.
        gpu_reason: a sentence on why there is no card in `gpus`, or why one is missing.
    """

    system: str
    cpu_name: str
    physical_cores: int
    logical_cores: int
    ram_total: int
    ram_free: int
    gpus: tuple[Gpu, ...]
    cpu_bf16: bool
    is_wsl: bool
    gpu_reason: str = ""

    def free_on_cards(self, count: int) -> int | None:
        """Bytes that are free on each of the first cards; None if one of them doesn't say."""
        free = [gpu.memory_free for gpu in self.gpus[:count]]
        return None if None in free else min(each for each in free if each is not None)


def read_machine(environ: Mapping[str, str] = os.environ) -> Machine:
    """Look at this machine; about 50 ms. A driver that must wake its card first takes longer.

    Args:
        environ: may hide cards.
    """
    import psutil

    memory = psutil.virtual_memory()
    cpu_name, cpu_bf16 = _cpu()
    gpus, gpu_reason = read_gpus(environ)
    logical = psutil.cpu_count() or 1
    return Machine(platform.system(), cpu_name, psutil.cpu_count(logical=False) or logical, logical, memory.total,
                   memory.available, gpus, cpu_bf16, wsl.is_wsl(), gpu_reason)


def read_gpus(environ: Mapping[str, str] = os.environ) -> tuple[tuple[Gpu, ...], str]:
    """The NVIDIA cards as `usable` has them, and the reason why there is none, or why one is missing."""
    monitors, reason = nvml.open_all()
    gpus = []
    for monitor in monitors:
        with monitor:
            reading = monitor.read()
        if reading.lost:
            reason = reading.message
            continue
        total, used = reading.memory_total, reading.memory_used
        free = None if total is None or used is None else total - used
        gpus.append(Gpu(monitor.index, monitor.name, total, free, monitor.compute_capability, monitor.uuid,
                        reading.power_limit_w))
    found = tuple(usable(gpus, environ))
    if gpus and not found:
        reason = tr(HIDDEN)
    return found, reason


def parse_cpuinfo(text: str) -> tuple[str, bool]:
    """The processor's name ("" if Linux gives none, as on ARM) and whether it multiplies bfloat16 itself.

    The flags are avx512_bf16 and amx_bf16 on x86, bf16 on ARM.
    """
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip().lower(), value.strip())
    flags = set((fields.get("flags") or fields.get("features") or "").split())
    return tidy_cpu_name(fields.get("model name", "")), bool(flags & {"avx512_bf16", "amx_bf16", "bf16"})


def tidy_cpu_name(name: str) -> str:
    """Without the marks that only lawyers read: "Intel(R) Core(TM) i5-10400 CPU @ 2.90GHz" -> "Intel Core i5-10400"."""
    name = re.sub(r"\((?:R|TM|C)\)", "", name, flags=re.IGNORECASE)
    name = re.sub(r"\bCPU\b|\s@.*$|\b\d+-Core Processor|\bProcessor\b", "", name)
    return " ".join(name.split())


def _cpu() -> tuple[str, bool]:
    name, bf16 = "", False
    if sys.platform == "linux":
        name, bf16 = parse_cpuinfo(
            Path(os.environ.get(CPUINFO) or "/proc/cpuinfo").read_text(encoding="utf-8", errors="replace"))
    elif sys.platform == "win32":
        import winreg

        # platform.processor() gives a family and model number here, which nobody knows their processor by.
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"HARDWARE\DESCRIPTION\System\CentralProcessor\0") as key:
            name = tidy_cpu_name(str(winreg.QueryValueEx(key, "ProcessorNameString")[0]))
    return name or platform.processor() or platform.machine() or tr("unknown processor"), bf16


# -- Which of the cards training may use.

AnyCard = TypeVar("AnyCard", Gpu, GpuMonitor)


def usable(cards: Sequence[AnyCard], environ: Mapping[str, str] = os.environ) -> list[AnyCard]:
    """The cards for training, the one that a single process uses first."""
    if VISIBLE_DEVICES not in environ:
        return sorted(cards, key=_rank)
    # The driver lists parts of a card (MIG) elsewhere.
    return list(cards) if "MIG-" in environ[VISIBLE_DEVICES].upper() else visible(cards, environ)


def _rank(card: Gpu | GpuMonitor) -> tuple[int, int, tuple[int, int], int]:
    """What the card can compute, then its memory: a smaller card of a newer generation fits less."""
    capability = card.compute_capability or (0, 0)
    generation = sum(capability >= each for each in GENERATIONS)
    return -generation, -(card.memory_total or 0), (-capability[0], -capability[1]), card.index


def visible(cards: Sequence[AnyCard], environ: Mapping[str, str] = os.environ) -> list[AnyCard]:
    """What CUDA_VISIBLE_DEVICES leaves: numbers, or the beginnings of UUIDs. CUDA stops at the first it doesn't know.

    Nothing, where it names parts of a card (MIG).
    """
    given = environ.get(VISIBLE_DEVICES)
    if given is None:
        return list(cards)
    chosen: list[AnyCard] = []
    for word in given.split(","):
        fits = [card for card in cards if _is(card, word.strip())]
        if len(fits) != 1 or fits[0] in chosen:
            break
        chosen += fits
    return chosen


def _is(card: Gpu | GpuMonitor, word: str) -> bool:
    if word.isdecimal():
        return card.index == int(word)
    return bool(bare(word)) and bare(card.uuid or "").startswith(bare(word))


def bare(uuid: str) -> str:
    """A UUID without the prefix that the driver gives it and torch leaves out."""
    return uuid.lower().removeprefix("gpu-")


def visible_devices(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What a worker's environment needs so that CUDA counts the cards as `usable` does; nothing where it does anyway.

    Takes some milliseconds where the driver is awake.
    """
    if VISIBLE_DEVICES in environ:
        return {}
    monitors, _ = nvml.open_all()
    for monitor in monitors:
        monitor.close()
    cards = usable(monitors, environ)
    return {} if cards == monitors else {VISIBLE_DEVICES: ",".join(card.uuid or str(card.index) for card in cards)}


def open_as_torch_counts(uuids: Sequence[str | None], environ: Mapping[str, str] = os.environ
                         ) -> tuple[list[GpuMonitor], str]:
    """Monitors of the cards that torch computes on, in torch's order; close them.

    Args:
        uuids: of `cuda:0`, `cuda:1` …, as torch says them, with or without "GPU-"; None if torch doesn't say.

    Returns:
        The monitors, and a sentence on what is missing or not certain, or "".
    """
    monitors, reason = nvml.open_all()
    chosen, certain = _as_torch_counts(monitors, uuids, environ)
    if not certain and len(monitors) > 1:
        names = ", ".join(f"GPU {monitor.index} ({monitor.name})" for monitor in chosen)
        uncertain = tr("It isn't certain which cards the run uses, because PyTorch and the driver name them "
                       "differently. These are watched: {cards}.", cards=names)
        reason = f"{reason} {uncertain}".strip()
    for monitor in monitors:
        if monitor not in chosen:
            monitor.close()
    return chosen, reason


def torchs_first(machine: Machine, uuids: Sequence[str | None] | None) -> Machine:
    """The machine with its cards in torch's order, those that torch doesn't see behind them.

    Args:
        uuids: as for `open_as_torch_counts`; None changes nothing.
    """
    chosen, _ = _as_torch_counts(machine.gpus, uuids or (), os.environ)
    return replace(machine, gpus=(*chosen, *(gpu for gpu in machine.gpus if gpu not in chosen)))


def _as_torch_counts(cards: Sequence[AnyCard], uuids: Sequence[str | None], environ: Mapping[str, str]
                     ) -> tuple[list[AnyCard], bool]:
    """The cards with these UUIDs in their order, else as the environment says; and whether they were found so."""
    by_uuid = {bare(card.uuid): card for card in cards if card.uuid}
    found = [by_uuid.get(bare(uuid)) for uuid in uuids if uuid]
    chosen = [card for card in found if card is not None]
    if len(chosen) == len(uuids):
        return chosen, True
    return (visible(cards, environ) or list(cards))[:len(uuids)], False
