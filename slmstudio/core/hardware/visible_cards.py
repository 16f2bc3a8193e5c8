"""Which of the driver's cards training may use, and in which order: one answer for the plan and the worker.

The driver counts cards by PCI address, and so does CUDA in a worker (`processes.worker_environment`). Where
CUDA_VISIBLE_DEVICES is set, it hides cards and orders them (CUDA programming guide, "CUDA environment variables");
where it isn't, the card that suits training best comes first.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Protocol, TypeVar

from slmstudio.core.i18n import join_sentences, noop, tr

# -- What a card and the installed PyTorch are good for: the one choice of the plan and of the worker, with its
# reason.

Capability = tuple[int, int] | None
"""A card's compute capability, such as (8, 6); None for the processor."""
VARLEN, FLEX, PER_ROW = "varlen", "flex", "per_row"
VARLEN_TORCH, AMPERE, VOLTA = (2, 10), (8, 0), (7, 0)
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
class Way:
    """
    Attributes:
        name: `VARLEN`, `FLEX` or `PER_ROW`.
        reason: why, in a sentence.
    """

    name: str
    reason: str


def packed_attention(capability: Capability, precision: str, installed: Installed) -> Way:
    """How packed rows are kept apart."""
    version = ".".join(map(str, installed.torch))
    if capability is None:
        return Way(PER_ROW, tr("On the processor, each row is processed by itself."))
    number = ".".join(map(str, capability))
    if capability >= AMPERE and precision != "fp32" and installed.torch >= VARLEN_TORCH and installed.flash:
        return Way(VARLEN, tr("This card (compute capability {capability}) and PyTorch {version} support "
                              "variable-length attention for packed rows.", capability=number, version=version))
    why = (tr("This card (compute capability {capability}) is older than Ampere.", capability=number)
           if capability < AMPERE else
           tr("Variable-length attention doesn't work in fp32.") if precision == "fp32" else
           tr(NO_FLASH) if not installed.flash else
           tr("PyTorch {version} doesn't have variable-length attention yet.", version=version))
    if capability >= VOLTA and installed.triton:
        return Way(FLEX, join_sentences(why, tr("FlexAttention keeps packed rows apart instead.")))
    lacking = (tr("Triton, which FlexAttention needs, is missing, so each row is processed by itself.")
               if capability >= VOLTA else
               tr("It's also too old for FlexAttention, so each row is processed by itself."))
    return Way(PER_ROW, join_sentences(why, lacking))


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
