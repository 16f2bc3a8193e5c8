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
    groups = query.shape[1] // key.shape[1]
    parts = []
    for q, k, v in zip(*(x.split(row_lengths, dim=2) for x in (query, key, value)), strict=True):
        out = torch.nn.functional.scaled_dot_product_attention(
            q, k, v, dropout_p=dropout, scale=scaling, is_causal=True, enable_gqa=groups > 1)
        parts.append(out.transpose(1, 2))
    return torch.cat(parts, dim=1), None


def _mask(*args: Any, **kwargs: Any) -> torch.Tensor | None:
    return sdpa_mask(*args, **kwargs)


def register() -> None:
    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, _mask)
