"""Liger's kernels, where a card and the extra `gpu` are there: its fused linear cross entropy in the place of our own
head loss, and its others (RMSNorm, SwiGLU, RoPE) in the model."""

from __future__ import annotations

from typing import Any

import torch

_on = False


def use(on: bool) -> None:
    """Whether head losses on a card are Liger's from now on."""
    global _on
    _on = on


def put_into(model: Any) -> None:
    """Exchange the parts of a model, with or without an adapter, that Liger has kernels for.

    The trainers' own switch for this is deprecated: in its stead TRL proposes kernels that are downloaded.
    """
    from transformers.integrations.liger import apply_liger_kernel

    apply_liger_kernel(model, {"fused_linear_cross_entropy": False})


def serves(hidden: torch.Tensor) -> bool:
    return _on and hidden.is_cuda and len(hidden) > 0


def head_loss(hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """As `head_loss.head_loss`: the sum over positions of the cross entropy of `hidden @ weight.T`."""
    from liger_kernel.ops.fused_linear_cross_entropy import LigerFusedLinearCrossEntropyFunction

    # In their order: bias, weights of classes, the ignored target, z-loss, smoothing, reduction.
    found = LigerFusedLinearCrossEntropyFunction.apply(hidden, weight, targets, None, None, -100, 0.0, 0.0, "sum")
    loss: torch.Tensor = found[0] if isinstance(found, tuple) else found
    return loss
