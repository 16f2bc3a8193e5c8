"""RMSNorm (arXiv 1910.07467, eq. 4) in few passes: Llama's kind, and Gemma's, which multiplies by 1 + weight."""

from __future__ import annotations

from typing import Any

import torch

from slmstudio.worker.kernels.joined_linear import scale_rows

NAMES = ("LlamaRMSNorm", "MistralRMSNorm", "Qwen2RMSNorm", "Qwen3RMSNorm", "Phi3RMSNorm", "Gemma3RMSNorm")
"""Classes of transformers whose forward pass is known to be what is computed here."""


def factors(norm: Any) -> tuple[torch.Tensor, float]:
    """What a norm multiplies by, and its epsilon. Gemma's factors are fp32: it rounds only once, at the end."""
    if type(norm).__name__.startswith("Gemma"):
        return 1.0 + norm.weight.float(), norm.eps
    return norm.weight, norm.variance_epsilon


def forward(x: torch.Tensor, weight: torch.Tensor, eps: float) -> tuple[torch.Tensor, torch.Tensor]:
    """RMSNorm of x [rows, size], and 1 / RMS [rows] in fp32."""
    length = torch.linalg.vector_norm(x, dim=-1, dtype=torch.float32)
    inverse = length.square_().div_(x.shape[-1]).add_(eps).rsqrt_()
    return again(x, weight, inverse), inverse


def again(x: torch.Tensor, weight: torch.Tensor, inverse: torch.Tensor) -> torch.Tensor:
    """The norm of x, once 1 / RMS is known."""
    if weight.dtype != x.dtype:
        return (x.float() * inverse[:, None]).mul_(weight).to(x.dtype)
    return scale_rows(x, inverse).mul_(weight)


def backward(grad: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, inverse: torch.Tensor) -> torch.Tensor:
    """Gradient with respect to x; `grad` is with respect to the norm's output, and is used up."""
    if weight.dtype != x.dtype:
        return backward(grad.float(), x.float(), weight, inverse).to(x.dtype)
    straight = scale_rows(x, inverse)
    scaled = grad.mul_(weight)
    share = torch.mul(scaled, straight).sum(-1, dtype=torch.float32).div_(x.shape[-1])
    return scale_rows(scaled, inverse).add_(scale_rows(straight, share.mul_(inverse).neg_()))


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        rows = x.reshape(-1, x.shape[-1])
        out, inverse = forward(rows, weight, eps)
        ctx.save_for_backward(rows, weight, inverse)
        return out.view(x.shape)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows, weight, inverse = ctx.saved_tensors
        own = grad.reshape(rows.shape).clone()
        grad_weight = (own * scale_rows(rows, inverse)).sum(0) if ctx.needs_input_grad[1] else None
        return backward(own, rows, weight, inverse).view(grad.shape), grad_weight, None


def apply(model: torch.nn.Module) -> None:
    """Give the norms of `model` that are known their fast forward."""
    for norm in model.modules():
        if type(norm).__name__ in NAMES:
            norm.forward = _forward_of(norm)  # type: ignore[method-assign]


def _forward_of(norm: Any) -> Any:
    stock = norm.forward

    def fast(x: torch.Tensor) -> torch.Tensor:
        if x.dtype != norm.weight.dtype or torch.is_autocast_enabled(x.device.type):
            return stock(x)  # type: ignore[no-any-return]
        return _Norm.apply(x, *factors(norm))  # type: ignore[no-any-return]

    return fast
