"""Attention of packed micro-batches: each row attends to itself only, and costs what it costs alone.

The rows of a micro-batch lie end to end as one (batches.PackedCollator). A mask over the whole length would keep them
apart too, but its cost grows with the square of the whole length. Here each row's slice goes through PyTorch's
`scaled_dot_product_attention` by itself.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "sdpa_per_row"


def _attention(module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor,
               attention_mask: torch.Tensor | None, row_lengths: list[int] | None = None,
               dropout: float = 0.0, scaling: float | None = None, **kwargs: Any) -> tuple[torch.Tensor, None]:
    """transformers' attention interface: [1, heads, tokens, head size] in, [1, tokens, heads, head size] out."""
    if row_lengths is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **kwargs)
    return _PerRow.apply(query, key, value, row_lengths, scaling), None


class _PerRow(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, lengths: list[int],
                scaling: float | None) -> torch.Tensor:
        groups = q.shape[1] // k.shape[1]
        out = torch.empty(1, q.shape[2], q.shape[1], q.shape[3], dtype=q.dtype)
        k2, v2 = repeat_kv(k, groups), repeat_kv(v, groups)
        norms, start = [], 0
        for length in lengths:
            part = slice(start, start + length)
            o, n = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
                q[:, :, part], k2[:, :, part], v2[:, :, part], 0.0, True, attn_mask=None, scale=scaling)
            out[:, part] = o.transpose(1, 2)
            norms.append(n)
            start += length
        ctx.save_for_backward(q, k, v, out, *norms)
        ctx.lengths, ctx.scaling = lengths, scaling
        return out

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        q, k, v, out, *norms = ctx.saved_tensors
        groups = q.shape[1] // k.shape[1]
        k2, v2 = repeat_kv(k, groups), repeat_kv(v, groups)
        grad, out = grad.transpose(1, 2), out.transpose(1, 2)
        dq, dk, dv = (torch.empty_like(x.transpose(1, 2)).transpose(1, 2) for x in (q, k, v))
        start = 0
        for length, n in zip(ctx.lengths, norms, strict=True):
            part = slice(start, start + length)
            a, b, c = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
                grad[:, :, part], q[:, :, part], k2[:, :, part], v2[:, :, part], out[:, :, part], n, 0.0, True,
                attn_mask=None, scale=ctx.scaling)
            dq[:, :, part] = a
            dk[:, :, part] = b.view(1, k.shape[1], groups, length, -1).sum(2)
            dv[:, :, part] = c.view(1, k.shape[1], groups, length, -1).sum(2)
            start += length
        return dq, dk, dv, None, None


def _mask(*args: Any, **kwargs: Any) -> torch.Tensor | None:
    return sdpa_mask(*args, **kwargs)


def register() -> None:
    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, _mask)
