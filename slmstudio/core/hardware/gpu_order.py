"""Which of the driver's cards is torch's `cuda:N`: found by its UUID, which is the same for both."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import TypeVar

from slmstudio.core.hardware.machine import Gpu, Machine
from slmstudio.core.hardware.nvml import GpuMonitor, open_all
from slmstudio.core.hardware.visible_cards import VARIABLE, bare, usable, visible
from slmstudio.core.i18n import tr

Card = TypeVar("Card", Gpu, GpuMonitor)


def environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What a worker's environment needs so that CUDA counts the cards as `usable` does; nothing where it does anyway.

    Takes some milliseconds where the driver is awake.
    """
    if VARIABLE in environ:
        return {}
    monitors, _ = open_all()
    for monitor in monitors:
        monitor.close()
    cards = usable(monitors, environ)
    return {} if cards == monitors else {VARIABLE: ",".join(card.uuid or str(card.index) for card in cards)}


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
    by_uuid = {bare(card.uuid): card for card in cards if card.uuid}
    found = [by_uuid.get(bare(uuid)) for uuid in uuids if uuid]
    chosen = [card for card in found if card is not None]
    if len(chosen) == len(uuids):
        return chosen, True
    return (visible(cards, environ) or list(cards))[:len(uuids)], False
