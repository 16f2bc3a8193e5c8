"""Liger's fused linear cross entropy in the place of our own head loss, where a card and the extra `gpu` are there.

Its other kernels (RMSNorm, SwiGLU, RoPE) are put into the model by transformers, when the trainer is made.
"""

from __future__ import annotations

import torch

_on = False


def use(on: bool) -> None:
    """Whether head losses on a card are Liger's from now on."""
    global _on
    _on = on


def serves(hidden: torch.Tensor) -> bool:
    return _on and hidden.is_cuda and len(hidden) > 0


def head_loss(hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """As `head_loss.head_loss`: the sum over positions of the cross entropy of `hidden @ weight.T`."""
    from liger_kernel.ops.fused_linear_cross_entropy import LigerFusedLinearCrossEntropyFunction

    # In their order: bias, weights of classes, the ignored target, z-loss, smoothing, reduction.
    found = LigerFusedLinearCrossEntropyFunction.apply(hidden, weight, targets, None, None, -100, 0.0, 0.0, "sum")
    loss: torch.Tensor = found[0] if isinstance(found, tuple) else found
    return loss
