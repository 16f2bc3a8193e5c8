"""What this machine has: processor, memory, NVIDIA cards."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from slmstudio.core.hardware import nvml, visible_cards, wsl
from slmstudio.core.i18n import noop, tr

CPUINFO = "SLMSTUDIO_CPUINFO"
"""Environment variable that names a file to read instead of /proc/cpuinfo, so that other processors can be tried."""

HIDDEN = noop("The variable CUDA_VISIBLE_DEVICES hides every card.")


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
    """The NVIDIA cards as `visible_cards.usable` has them, and the reason why there is none, or why one is missing."""
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
    usable = tuple(visible_cards.usable(gpus, environ))
    if gpus and not usable:
        reason = tr(HIDDEN)
    return usable, reason


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
