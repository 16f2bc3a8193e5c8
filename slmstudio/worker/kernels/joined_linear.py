"""Frozen linear layers that read the same input, as one, with their LoRA matrices laid together.

Queries, keys and values read the same vectors, gate and up too. Their weights are one below the other in one matrix,
so that one product serves them, forwards and backwards, and so are the matrices A. Each matrix B has a product of its
own, of its columns alone. Formulae: fast_lora.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from peft.tuners.lora import Linear as LoraLinear
from torch.nn import functional

# -- LoRA's linear layer in one autograd step, in the base model's own number format.


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


def scale_rows(x: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """x [rows, size] with each row times its factor (fp32), rounded once.

    A product of mixed formats with one factor a row runs unvectorized on the processor, 25 times slower than this use
    of the batch norm, whose "channels" are the rows.
    """
    rows = x.shape[0]
    return functional.batch_norm(x[None], factors.new_zeros(rows), factors.new_ones(rows), factors, None, False, 0.0,
                                 0.0)[0]


class Saved(NamedTuple):
    """What the backward pass needs beside the input: all A [ranks, inputs], the elements of all scaled B one after
    another, and A x [tokens, ranks].

    Without an adapter they are empty.
    """

    a: torch.Tensor
    b: torch.Tensor
    projected: torch.Tensor


class JoinedLinear:
    """
    Attributes:
        matrices: how many adapter matrices there are: A and B of each layer that has them.
    """

    def __init__(self, layers: list[Any]):
        """
        Args:
            layers: `torch.nn.Linear` or PEFT's LoRA around one; from here on their weights are slices of one matrix.
        """
        bases = [_base(layer) for layer in layers]
        sizes = [base.weight.shape[0] for base in bases]
        self.layers, self.bases = layers, bases
        self.weight = bases[0].weight.detach()
        if len(bases) > 1:
            self.weight = torch.cat([base.weight.detach() for base in bases])
            for base, part in zip(bases, self.weight.split(sizes), strict=True):
                base.weight.data = part
        self.bias = None
        if any(base.bias is not None for base in bases):
            self.bias = torch.cat([torch.zeros_like(base.weight[:, 0]) if base.bias is None else base.bias.detach()
                                   for base in bases])
        starts = [sum(sizes[:i]) for i in range(len(sizes))]
        self.adapted = [(layer, start, start + size) for layer, start, size in zip(layers, starts, sizes, strict=True)
                        if isinstance(layer, LoraLinear)]
        self.matrices = 2 * len(self.adapted)

    @staticmethod
    def covers(layers: list[Any]) -> bool:
        return all(is_plain(layer) if type(layer) is LoraLinear else
                   type(layer) is torch.nn.Linear and not any(p.requires_grad for p in layer.parameters())
                   for layer in layers)

    def ready(self, x: torch.Tensor) -> bool:
        """Whether the layers are as they were: in place, adapters on, x in the weights' format."""
        return (
            x.dtype == self.weight.dtype
            and self.bases[0].weight.data_ptr() == self.weight.data_ptr()
            and not any(layer.disable_adapters or layer.merged or len(layer.active_adapters) != 1
                        or layer.active_adapters[0] not in layer.lora_A for layer, _, _ in self.adapted)
        )

    def adapter(self) -> list[torch.Tensor]:
        """A and B of each layer that has them, as they learn."""
        return [matrix.weight for layer, _, _ in self.adapted
                for matrix in (layer.lora_A[layer.active_adapters[0]], layer.lora_B[layer.active_adapters[0]])]

    def forward(self, x: torch.Tensor, adapter: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, Saved]:
        """x [tokens, inputs] → [tokens, outputs]."""
        out = functional.linear(x, self.weight, self.bias)
        if not adapter:
            return out, Saved(*(x.new_empty(0) for _ in Saved._fields))
        a = torch.cat(adapter[::2]).to(x.dtype)
        b = torch.cat([(matrix * layer.scaling[layer.active_adapters[0]]).flatten()
                       for (layer, _, _), matrix in zip(self.adapted, adapter[1::2], strict=True)]).to(x.dtype)
        projected = x @ a.T
        for _, matrix, outputs, ranks in self._parts(b):
            out[:, outputs].addmm_(projected[:, ranks], matrix.T)
        return out, Saved(a, b, projected)

    def _parts(self, b: torch.Tensor) -> Iterator[tuple[Any, torch.Tensor, slice, slice]]:
        """Each adapted layer, its B [outputs, rank] out of `b`, and its columns of the outputs and of A x."""
        begin = column = 0
        for layer, start, end in self.adapted:
            rank = layer.lora_A[layer.active_adapters[0]].weight.shape[0]
            size = (end - start) * rank
            yield layer, b[begin : begin + size].view(-1, rank), slice(start, end), slice(column, column + rank)
            begin, column = begin + size, column + rank

    def backward(self, grad: torch.Tensor, x: torch.Tensor, saved: Saved,
                 wants_x: bool) -> tuple[torch.Tensor | None, list[torch.Tensor]]:
        """Gradients with respect to x and to the adapter's matrices."""
        grad_x = grad @ self.weight if wants_x else None
        if not self.adapted:
            return grad_x, []
        parts = list(self._parts(saved.b))
        grad_projected = torch.cat([grad[:, outputs] @ matrix for _, matrix, outputs, _ in parts], dim=1)
        # The narrow matrix on the left: the other way round this product takes twice as long.
        grad_a = (grad_projected.T @ x).float()
        if grad_x is not None:
            grad_x.addmm_(grad_projected, saved.a)
        grads = []
        for layer, _, outputs, ranks in parts:
            grad_b = (saved.projected[:, ranks].T @ grad[:, outputs]).T.float()
            grads += [grad_a[ranks], grad_b * layer.scaling[layer.active_adapters[0]]]
        return grad_x, grads


def _base(layer: Any) -> torch.nn.Linear:
    return layer.get_base_layer() if isinstance(layer, LoraLinear) else layer
