"""Attention of packed rows on a card, in one call for all rows: what `packed.py` does row by row elsewhere.

There are two ways, and core/hardware/gpu_path.py chooses one by card and version: PyTorch's variable-length attention
(`torch.nn.attention.varlen`, FlashAttention's kernels), and FlexAttention with a mask by row.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import torch

from slmstudio.core.hardware.guidance import PER_ROW, VARLEN

_way = PER_ROW
LARGEST_HEAD = 256
BLOCK = 128
"""Queries and keys of a block of FlexAttention's mask: its default."""


@dataclass(frozen=True)
class Heads:
    """The shape of a model's attention.

    Attributes:
        size: of a head.
        queries, keys: heads of each.
        window: keys that a query sees at most, itself among them; None for all.
    """

    size: int = 64
    queries: int = 4
    keys: int = 2
    window: int | None = None


def use(way: str) -> None:
    """Attend this way from now on."""
    global _way
    _way = way


def serves(query: torch.Tensor, value: torch.Tensor, dropout: float) -> bool:
    """Whether these packed rows are attended to in one call; the values of some models are narrower than their keys."""
    return _way != PER_ROW and query.is_cuda and not dropout and fits(query.shape[-1], value.shape[-1])


def fits(size: int, value_size: int) -> bool:
    """Whether FlashAttention's kernels take heads of this size."""
    return size == value_size and size % 8 == 0 and size <= LARGEST_HEAD


def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, row_lengths: list[int], scaling: float,
           window: int, way: str | None = None) -> torch.Tensor:
    """Causal attention within each row: [1, heads, tokens, size] in, [1, tokens, heads, size] out.

    Args:
        window: keys that a query sees at most, itself among them.
        way: overrides what `use` chose.
    """
    lengths = tuple(row_lengths)
    work = _varlen if (way or _way) == VARLEN else _flex
    return work(query, key, value, lengths, scaling, window if window < max(lengths) else None)


def why_not(way: str, dtype: torch.dtype, heads: Heads, device: str = "cuda") -> str | None:
    """Try a way with the model's own heads and window, forward and backward, on rows of two lengths that don't fill
    their blocks: a size of head may need more of a card's shared memory than another one.

    Returns:
        What is in the way of it, in the library's words, or None.
    """
    if way == PER_ROW:
        return None
    rows = [BLOCK + 5, 3]
    try:
        for window in {sum(rows), min(heads.window or sum(rows), 16)}:
            inputs = [torch.randn(1, count, sum(rows), heads.size, dtype=dtype, device=device, requires_grad=True)
                      for count in (heads.queries, heads.keys, heads.keys)]
            attend(*inputs, rows, 0.125, window, way).sum().backward()
    except Exception as error:  # of whatever kind: a missing compiler, kernel or symbol
        return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no words'}"
    return None


def _varlen(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, lengths: tuple[int, ...], scaling: float,
            window: int | None) -> torch.Tensor:
    from torch.nn.attention import varlen

    bounds, longest = ends(lengths, query.device), max(lengths)
    q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))
    found = varlen.varlen_attn(
        q, k, v, bounds, bounds, longest, longest, scale=scaling, window_size=(-1 if window is None else window - 1, 0),
        enable_gqa=q.shape[1] != k.shape[1])
    assert isinstance(found, torch.Tensor)  # beside others only where they are asked for
    return found[None]


def _flex(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, lengths: tuple[int, ...], scaling: float,
          window: int | None) -> torch.Tensor:
    found = _flex_attention(query.is_cuda)(
        query, key, value, block_mask=_block_mask(lengths, window, query.device), scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1])
    return found.transpose(1, 2)  # type: ignore[no-any-return]


@functools.cache
def _flex_attention(compiled: bool) -> Any:
    """Uncompiled it writes out all scores, which only tests do."""
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=True) if compiled else flex_attention


@functools.lru_cache(maxsize=4)  # the layers of one micro-batch ask for the same
def ends(lengths: tuple[int, ...], device: torch.device) -> torch.Tensor:
    """Where rows that lie end to end begin and end: [rows + 1], int32."""
    return _sent(torch.tensor([0, *lengths]).cumsum(0).to(torch.int32), device)


def _sent(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The tensor on a device, without waiting for what that is working on: from ordinary memory it would."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


@functools.lru_cache(maxsize=4)
def _block_mask(lengths: tuple[int, ...], window: int | None, device: torch.device) -> Any:
    """Which blocks of queries see which blocks of keys, from the rows' lengths alone: trying each pair of tokens, as
    `create_block_mask` does, takes their square in memory for each micro-batch."""
    from torch.nn.attention.flex_attention import BlockMask

    row_of = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    tokens = len(row_of)
    begin = torch.arange(0, tokens, BLOCK)
    first, last = row_of[begin], row_of[(begin + BLOCK - 1).clamp(max=tokens - 1)]
    distance = begin[:, None] - begin[None]  # of a block of queries from a block of keys; negative: it comes later
    seen = (first[None] <= last[:, None]) & (last[None] >= first[:, None]) & (distance >= 0)
    whole = (first == last)[:, None] & (first == last)[None] & (first[:, None] == first[None]) & (distance > 0)
    if window is not None:
        seen &= distance - (BLOCK - 1) < window
        whole &= distance + (BLOCK - 1) < window
    rows = _sent(row_of, device)

    def sees(batch: Any, head: Any, query: Any, key: Any) -> Any:
        near = (rows[query] == rows[key]) & (query >= key)
        return near if window is None else near & (query - key < window)

    return BlockMask.from_kv_blocks(*_numbered(seen & ~whole, device), *_numbered(whole, device), BLOCK_SIZE=BLOCK,
                                    mask_mod=sees, seq_lengths=(tokens, tokens))


def _numbered(blocks: torch.Tensor, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Of each block of queries: how many blocks of keys, and their numbers before those of the others."""
    numbers = torch.argsort(blocks.to(torch.int32), dim=1, descending=True, stable=True)
    return (_sent(blocks.sum(1, dtype=torch.int32)[None, None], device),
            _sent(numbers.to(torch.int32)[None, None], device))
