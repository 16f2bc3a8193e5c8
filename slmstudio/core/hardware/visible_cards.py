"""Which of the driver's cards training may use, and in which order: one answer for the plan and the worker.

The driver counts cards by PCI address, and so does CUDA in a worker (`processes.worker_environment`). Where
CUDA_VISIBLE_DEVICES is set, it hides cards and orders them (CUDA programming guide, "CUDA environment variables");
where it isn't, the card that suits training best comes first.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

VARIABLE = "CUDA_VISIBLE_DEVICES"
GENERATIONS = ((7, 0), (8, 0))
"""Compute capabilities from which more can be used: Triton's kernels, then bf16 and variable-length attention."""


class Card(Protocol):
    """A card with the driver's number and, where the driver gives it, its UUID."""

    @property
    def index(self) -> int: ...
    @property
    def uuid(self) -> str | None: ...


class SizedCard(Card, Protocol):
    """A card whose memory and generation are known, as far as the driver says."""

    @property
    def memory_total(self) -> int | None: ...
    @property
    def compute_capability(self) -> tuple[int, int] | None: ...


AnyCard = TypeVar("AnyCard", bound=Card)
AnySized = TypeVar("AnySized", bound=SizedCard)


def usable(cards: Sequence[AnySized], environ: Mapping[str, str] = os.environ) -> list[AnySized]:
    """The cards for training, the one that a single process uses first."""
    if VARIABLE not in environ:
        return sorted(cards, key=_rank)
    # The driver lists parts of a card (MIG) elsewhere.
    return list(cards) if "MIG-" in environ[VARIABLE].upper() else visible(cards, environ)


def _rank(card: SizedCard) -> tuple[int, int, tuple[int, int], int]:
    """What the card can compute, then its memory: a smaller card of a newer generation fits less."""
    capability = card.compute_capability or (0, 0)
    generation = sum(capability >= each for each in GENERATIONS)
    return -generation, -(card.memory_total or 0), (-capability[0], -capability[1]), card.index


def visible(cards: Sequence[AnyCard], environ: Mapping[str, str] = os.environ) -> list[AnyCard]:
    """What CUDA_VISIBLE_DEVICES leaves: numbers, or the beginnings of UUIDs. CUDA stops at the first it doesn't know.

    Nothing, where it names parts of a card (MIG).
    """
    given = environ.get(VARIABLE)
    if given is None:
        return list(cards)
    chosen: list[AnyCard] = []
    for word in given.split(","):
        fits = [card for card in cards if _is(card, word.strip())]
        if len(fits) != 1 or fits[0] in chosen:
            break
        chosen += fits
    return chosen


def _is(card: Card, word: str) -> bool:
    if word.isdecimal():
        return card.index == int(word)
    return bool(bare(word)) and bare(card.uuid or "").startswith(bare(word))


def bare(uuid: str) -> str:
    """A UUID without the prefix that the driver gives it and torch leaves out."""
    return uuid.lower().removeprefix("gpu-")
