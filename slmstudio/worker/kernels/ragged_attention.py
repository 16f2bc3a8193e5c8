"""Attention of one new token a row over a padded cache, without reading the padding.

On the processor an answer's time goes into reading memory. Where prompts of 600 and of 1,600 tokens are in one cache, a
third of what is read for each token is the padding before the short ones. Rows that begin at about the same place are
taken together, each such part with the keys from there on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

NAME = "sdpa_without_padding"
MOST_PARTS = 4
"""Rows are taken in this many parts at most: each costs a call a layer."""
LEAST = 64
"""Places of the cache that a further part must save."""

Part = tuple[slice, int]
"""Rows of the batch, and the first place of the cache that one of them has."""

_parts: list[Part] = []


def use(model: Any) -> bool:
    """Let a model attend this way where it can; outside `reading` it computes as before."""
    if model.device.type != "cpu" or model.config.get_text_config()._attn_implementation != "sdpa":
        return False
    AttentionInterface.register(NAME, _attend)
    AttentionMaskInterface.register(NAME, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])
    model.set_attn_implementation(NAME)
    return True


def parts_of(padding: Sequence[int]) -> list[Part]:
    """Neighbouring rows with about as much padding before them.

    >>> parts_of([0, 10, 600, 610])
    [(slice(0, 2, None), 0), (slice(2, 4, None), 600)]
    >>> parts_of([0, 900, 0])
    [(slice(0, 3, None), 0)]
    """
    size = max(2, -(-len(padding) // MOST_PARTS))
    parts: list[Part] = []
    for begin in range(0, len(padding), size):
        rows = slice(begin, min(begin + size, len(padding)))
        start = min(padding[rows])
        if parts and start < parts[-1][1] + LEAST:
            before = parts.pop()
            rows, start = slice(before[0].start, rows.stop), min(start, before[1])
        parts.append((rows, start))
    return parts


@contextmanager
def reading(parts: list[Part]) -> Iterator[None]:
    """Within, single tokens attend by these parts, which hold all rows of the batch."""
    global _parts
    _parts = parts
    try:
        yield
    finally:
        _parts = []


def _attend(module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor,
            attention_mask: torch.Tensor | None, **options: Any) -> tuple[torch.Tensor, None]:
    """As transformers' own; query [rows, heads, tokens, size], key and value [rows, key heads, places, size]."""
    if len(_parts) < 2 or query.shape[2] != 1 or attention_mask is None:
        found, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **options)
        return found, None
    each = [sdpa_attention_forward(module, query[rows], key[rows, :, start:], value[rows, :, start:],
                                   attention_mask[rows, ..., start:], **options)[0] for rows, start in _parts]
    return torch.cat(each), None
