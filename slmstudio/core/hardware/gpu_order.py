"""Which of the driver's cards is torch's `cuda:N`.

The driver counts cards by PCI address; CUDA counts the fastest first unless CUDA_DEVICE_ORDER says PCI_BUS_ID, and
CUDA_VISIBLE_DEVICES hides cards and orders them (CUDA programming guide, "CUDA environment variables"). A card's UUID
is the same for both.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from slmstudio.core.hardware.nvml import GpuMonitor, open_all


def open_as_torch_counts(uuids: Sequence[str | None], environ: Mapping[str, str] = os.environ
                         ) -> tuple[list[GpuMonitor], str]:
    """Monitors of the cards that torch computes on, in torch's order; close them.

    Args:
        uuids: of `cuda:0`, `cuda:1` …, as torch says them, with or without "GPU-"; None where torch doesn't say.

    Returns:
        The monitors, and a sentence on what is missing or not certain, or "".
    """
    monitors, reason = open_all()
    if not monitors:
        return [], reason
    by_uuid = {_bare(monitor.uuid): monitor for monitor in monitors if monitor.uuid}
    found = [by_uuid.get(_bare(uuid)) for uuid in uuids if uuid]
    chosen = [monitor for monitor in found if monitor is not None]
    if len(chosen) != len(uuids):
        chosen = _visible(monitors, environ)[:len(uuids)]
        if len(monitors) > 1:
            names = ", ".join(f"GPU {monitor.index} ({monitor.name})" for monitor in chosen) or "none"
            reason = (f"{reason} Which cards the run uses isn't certain, since PyTorch and the driver don't name them "
                      f"alike: these are watched: {names}.").strip()
    for monitor in monitors:
        if monitor not in chosen:
            monitor.close()
    return chosen, reason


def _visible(monitors: Sequence[GpuMonitor], environ: Mapping[str, str]) -> list[GpuMonitor]:
    """What CUDA_VISIBLE_DEVICES leaves: numbers, or the beginnings of UUIDs.

    CUDA stops at the first that it doesn't know.
    """
    given = environ.get("CUDA_VISIBLE_DEVICES")
    if given is None:
        return list(monitors)
    chosen: list[GpuMonitor] = []
    for word in given.split(","):
        fits = [monitor for monitor in monitors if _is(monitor, word.strip())]
        if len(fits) != 1 or fits[0] in chosen:
            break
        chosen += fits
    return chosen


def _is(monitor: GpuMonitor, word: str) -> bool:
    if word.isdecimal():
        return monitor.index == int(word)
    return bool(_bare(word)) and _bare(monitor.uuid or "").startswith(_bare(word))


def _bare(uuid: str) -> str:
    return uuid.lower().removeprefix("gpu-")
