"""What is chosen by card and version, and the reason that is given."""

from __future__ import annotations

import pytest

from slmstudio.core.hardware import guidance
from slmstudio.core.hardware.guidance import FLEX, PER_ROW, VARLEN, Installed

NEW, OLD = Installed((2, 13), True, True), Installed((2, 9), True, False)
NO_TRITON = Installed((2, 9), False, True)
ON_WINDOWS = Installed((2, 13), False, False, flash=False)


@pytest.mark.parametrize(("card", "precision", "installed", "name", "said"), [
    (None, "bf16", NEW, PER_ROW, "On the processor, each row is processed by itself."),
    ((8, 6), "bf16", NEW, VARLEN,
     "This card (compute capability 8.6) and PyTorch 2.13 support variable-length attention for packed rows."),
    ((8, 6), "fp32", NEW, FLEX,
     "Variable-length attention doesn't work in fp32. FlexAttention keeps packed rows apart instead."),
    ((8, 9), "bf16", OLD, FLEX,
     "PyTorch 2.9 doesn't have variable-length attention yet. FlexAttention keeps packed rows apart instead."),
    ((7, 5), "fp16", NEW, FLEX,
     "This card (compute capability 7.5) is older than Ampere. FlexAttention keeps packed rows apart instead."),
    ((8, 9), "bf16", NO_TRITON, PER_ROW,
     "PyTorch 2.9 doesn't have variable-length attention yet. Triton, which FlexAttention needs, is missing, so "
     "each row is processed by itself."),
    ((8, 9), "bf16", ON_WINDOWS, PER_ROW,
     "This build of PyTorch has no FlashAttention and uses a slower kernel. Triton, which FlexAttention needs, is "
     "missing, so each row is processed by itself."),
    ((6, 1), "fp16", NEW, PER_ROW,
     "This card (compute capability 6.1) is older than Ampere. It's also too old for FlexAttention, so each row is "
     "processed by itself."),
])
def test_packed_rows(card, precision, installed, name, said):
    assert guidance.packed_attention(card, precision, installed) == guidance.PackedAttention(name, said)


@pytest.mark.parametrize(("card", "installed", "used", "said"), [
    (None, NEW, False, "Only for NVIDIA GPUs."),
    ((8, 6), NEW, True, "It's installed. It takes less memory, and makes norms, rotations and the loss faster."),
    ((8, 6), OLD, False, "Liger isn't installed (the extra “gpu”)."),
    ((8, 6), NO_TRITON, False, "Triton isn't installed (the extra “gpu”)."),
    ((6, 1), NEW, False, "This card is older than Volta, which Triton's kernels need."),
])
def test_liger(card, installed, used, said):
    assert guidance.liger(card, installed) == (used, said)


def test_what_is_installed_here():
    import torch

    assert Installed.here().torch == tuple(map(int, torch.__version__.split(".")[:2]))
