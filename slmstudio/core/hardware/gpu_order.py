"""Which of the driver's cards is torch's `cuda:N`.

The driver counts cards by PCI address, and so does CUDA in a worker (`jobs.processes.worker_environment`), which would
count the fastest first otherwise. CUDA_VISIBLE_DEVICES hides cards and orders them (CUDA programming guide, "CUDA
environment variables"). A card's UUID is the same for both.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import TypeVar

from slmstudio.core.hardware.machine import Gpu, Machine
from slmstudio.core.hardware.nvml import GpuMonitor, open_all
from slmstudio.core.i18n import tr

Card = TypeVar("Card", Gpu, GpuMonitor)


def open_as_torch_counts(uuids: Sequence[str | None], environ: Mapping[str, str] = os.environ
                         ) -> tuple[list[GpuMonitor], str]:
    """Monitors of the cards that torch computes on, in torch's order; close them.

    Args:
        uuids: of `cuda:0`, `cuda:1` …, as torch says them, with or without "GPU-"; None if torch doesn't say.

    Returns:
        The monitors, and a sentence on what is missing or not certain, or "".
    """
    monitors, reason = open_all()
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
    return dataclasses.replace(machine, gpus=(*chosen, *(gpu for gpu in machine.gpus if gpu not in chosen)))


def _as_torch_counts(cards: Sequence[Card], uuids: Sequence[str | None], environ: Mapping[str, str]
                     ) -> tuple[list[Card], bool]:
    """The cards with these UUIDs in their order, else as the environment says; and whether they were found so."""
    by_uuid = {_bare(card.uuid): card for card in cards if card.uuid}
    found = [by_uuid.get(_bare(uuid)) for uuid in uuids if uuid]
    chosen = [card for card in found if card is not None]
    if len(chosen) == len(uuids):
        return chosen, True
    return (visible(cards, environ) or list(cards))[:len(uuids)], False


def visible(cards: Sequence[Card], environ: Mapping[str, str] = os.environ) -> list[Card]:
    """What CUDA_VISIBLE_DEVICES leaves: numbers, or the beginnings of UUIDs. CUDA stops at the first it doesn't know.

    Nothing, where it names parts of a card (MIG).
    """
    given = environ.get("CUDA_VISIBLE_DEVICES")
    if given is None:
        return list(cards)
    chosen: list[Card] = []
    for word in given.split(","):
        fits = [card for card in cards if _is(card, word.strip())]
        if len(fits) != 1 or fits[0] in chosen:
            break
        chosen += fits
    return chosen


def _is(card: Gpu | GpuMonitor, word: str) -> bool:
    if word.isdecimal():
        return card.index == int(word)
    return bool(_bare(word)) and _bare(card.uuid or "").startswith(_bare(word))


def _bare(uuid: str) -> str:
    return uuid.lower().removeprefix("gpu-")
