"""LoRA's linear layer in one autograd step, in the base model's own number format.

PEFT casts each layer's input to the adapter's fp32, multiplies there, and casts back: on a bf16 base the casts cost
more than the products. Here the small matrices A and B are cast instead, and only x, its projection to rank r and the
two small matrices are kept for the backward pass. Formulae: y = W x + s B A x (arXiv 2106.09685); gradients
dB = s dy (A x)', dA = s B' dy x', dx = W' dy + s A' B' dy.
"""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.lora import Linear as LoraLinear


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, a: torch.Tensor,
                b: torch.Tensor, scale: float) -> torch.Tensor:
        rows = x.reshape(-1, x.shape[-1])
        small_a, small_b = a.to(x.dtype), b.to(x.dtype)
        projected = rows @ small_a.T
        out = torch.nn.functional.linear(rows, weight, bias)
        out.addmm_(projected, small_b.T, alpha=scale)
        ctx.save_for_backward(rows, weight, small_a, small_b, projected)
        ctx.scale, ctx.shape, ctx.adapter_dtype = scale, x.shape, a.dtype
        return out.view(*x.shape[:-1], weight.shape[0])

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows, weight, small_a, small_b, projected = ctx.saved_tensors
        grad_rows = grad.reshape(-1, grad.shape[-1])
        grad_projected = (grad_rows @ small_b) * ctx.scale
        grad_a = (grad_projected.T @ rows).to(ctx.adapter_dtype)
        grad_b = ((grad_rows.T @ projected) * ctx.scale).to(ctx.adapter_dtype)
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = torch.addmm(grad_rows @ weight, grad_projected, small_a).view(ctx.shape)
        return grad_x, None, None, grad_a, grad_b, None


def apply(model: torch.nn.Module) -> int:
    """Give every plain LoRA layer of `model` the fused forward; returns how many there are.

    Layers with dropout, DoRA, a quantized or learning base, or several adapters keep PEFT's own.
    """
    layers = [module for module in model.modules() if type(module) is LoraLinear and is_plain(module)]
    for layer in layers:
        layer.forward = _forward_of(layer)  # type: ignore[method-assign]
    return len(layers)


def is_plain(layer: LoraLinear) -> bool:
    """Whether a LoRA layer is nothing but W x + s B A x on a frozen base."""
    if len(layer.active_adapters) != 1:
        return False
    name = layer.active_adapters[0]
    return (
        type(layer.get_base_layer()) is torch.nn.Linear
        and not layer.get_base_layer().weight.requires_grad
        and name in layer.lora_A
        and name not in layer.lora_variant
        and isinstance(layer.lora_dropout[name], torch.nn.Identity)
        and layer.lora_A[name].bias is None
        and layer.lora_B[name].bias is None
    )


def _forward_of(layer: LoraLinear) -> Any:
    stock = layer.forward

    def forward(x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        base = layer.get_base_layer()
        if args or kwargs or layer.disable_adapters or layer.merged or x.dtype != base.weight.dtype:
            return stock(x, *args, **kwargs)
        name = layer.active_adapters[0]
        return _Fused.apply(x, base.weight, base.bias, layer.lora_A[name].weight, layer.lora_B[name].weight,
                            layer.scaling[name])

    return forward
