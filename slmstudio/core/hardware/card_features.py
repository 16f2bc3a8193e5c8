"""What a card and the installed PyTorch are good for: one choice for the plan and the worker, with its reason."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from importlib import metadata

from slmstudio.core.i18n import join_sentences, noop, tr

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
