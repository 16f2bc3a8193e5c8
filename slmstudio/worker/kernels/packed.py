"""Attention of micro-batches, packed or padded: each row attends to itself only, and costs what it costs alone.

The rows of a micro-batch are laid end to end as one (batches.PackedCollator). A mask over the whole length would keep
them apart too, but its cost grows with the square of the whole length. Here each row's slice is worked through by
itself: on a GPU that can't take all of them in one call (gpu_attention.py) by PyTorch's `scaled_dot_product_attention`;
on the processor by the products written out below, which take a third less time than PyTorch's kernel on rows of some
hundred tokens, chiefly in the backward pass, and keep nothing but their inputs. FlashAttention 2 knows packed rows
itself and is given their boundaries (summed_loss.py).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from slmstudio.worker.kernels import gpu_attention

NAME = "sdpa_per_row"
"""As `attn_implementation`, once `register` was called. What isn't packed goes to transformers' own sdpa."""

BLOCK = {torch.float32: 64, torch.bfloat16: 128}
"""Queries that are worked on at once, by format; the keys after the last of them are left out. Larger products suit
bf16's faster units."""


REACHED: set[str] = set()
"""Holds `NAME` once rows have reached the attention: some architectures, as Nemotron, don't hand them on."""


class RowLengths:
    """Tokens of each row of a micro-batch. Not a list: a compiled layer would be compiled again for each other list."""

    def __init__(self, lengths: list[int]):
        self.lengths = lengths


def register() -> None:
    """Make `NAME` known to transformers; again does no harm."""
    REACHED.clear()
    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, _mask)


def _mask(*args: Any, attention_mask: torch.Tensor | None = None, **kwargs: Any) -> torch.Tensor | None:
    """No mask for whole sequences without padding: `_attention` keeps rows apart and sees to the window. With a mask
    there is padding (batches.PaddedCollator); looking for some would wait for the card."""
    whole = kwargs["q_length"] == kwargs["kv_length"]
    if attention_mask is None and whole:
        return None
    skips = {"allow_is_causal_skip": False} if whole else {}
    return sdpa_mask(*args, attention_mask=attention_mask, **{**kwargs, **skips})  # type: ignore[no-any-return]


def no_mask(device: torch.device) -> torch.Tensor:
    """Stands for the mask of packed rows, which none needs here: [1, 1, 1, 1]. transformers hands on what has four
    dimensions; without a mask it would look for the rows' beginnings, and wait for the card."""
    return torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device)


@torch.compiler.disable  # what a compiled layer hands over as it is
def _attention(module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor,
               attention_mask: torch.Tensor | None, row_lengths: RowLengths | None = None, dropout: float = 0.0,
               scaling: float | None = None, sliding_window: int | None = None,
               **kwargs: Any) -> tuple[torch.Tensor, None]:
    """transformers' attention interface: [batch, heads, tokens, head size] in, [batch, tokens, heads, head size] out.

    Args:
        row_lengths: tokens of each row: of a packed micro-batch (`batch` is 1), or of a padded one (one for each of
            `batch`). None when the model runs outside training; transformers' own sdpa does that.
    """
    lengths = row_lengths.lengths if row_lengths is not None else None
    if lengths is not None and not REACHED:
        REACHED.add(NAME)
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    window = sliding_window or query.shape[2]
    device = query.device.type
    if lengths is not None and torch.is_autocast_enabled(device):
        # The rotated queries and keys are fp32 then and the values bf16; of what follows, only PyTorch's own casts.
        query, key, value = (x.to(torch.get_autocast_dtype(device)) for x in (query, key, value))
    plain = device == "cpu" and not dropout and query.dtype in (torch.bfloat16, torch.float32)
    if lengths is not None and plain:
        return _PerRow.apply(query, key, value, lengths, scaling, window), None
    if lengths is None or len(lengths) == query.shape[0]:
        if attention_mask is None and window < query.shape[2] == key.shape[2]:
            attention_mask = ~_hidden(0, query.shape[2], 0, window, query.device)
        own, value = _for_fused(query, key, value, attention_mask, dropout)
        if own is not key:  # transformers repeats them once more, or lets PyTorch do it, where the module has groups
            module = SimpleNamespace(is_causal=getattr(module, "is_causal", True))
        return sdpa_attention_forward(module, query, own, value, attention_mask, dropout, scaling, **kwargs)
    if gpu_attention.serves(query, value, dropout):
        return gpu_attention.attend(query, key, value, lengths, scaling, window), None
    parts = []
    for q, k, v in zip(*(x.split(lengths, dim=2) for x in (query, key, value)), strict=True):
        tokens = q.shape[2]
        mask = ~_hidden(0, tokens, 0, window, q.device) if window < tokens else None
        k, v = _for_fused(q, k, v, mask, dropout)
        parts.append(torch.nn.functional.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, dropout_p=dropout, is_causal=mask is None, scale=scaling,
            enable_gqa=q.shape[1] != k.shape[1]))
    return torch.cat(parts, dim=2).transpose(1, 2), None


def _for_fused(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None,
               dropout: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Keys and values with a head for each of the queries' where a card has no kernel for shared ones.

    FlashAttention's takes shared heads; the memory-efficient kernel doesn't (`enable_gqa` of
    scaled_dot_product_attention), and without it all scores are written out and kept: tokens squared for each head and
    layer. Cards older than Ampere, fp32, masks, and builds of PyTorch for Windows have no FlashAttention.
    """
    groups = query.shape[1] // key.shape[1]
    if groups == 1 or query.device.type != "cuda" or _flash_takes(query, key, value, mask, dropout):
        return key, value
    return key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)


def _flash_takes(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None,
                 dropout: float) -> bool:
    cuda = torch.backends.cuda
    return bool(cuda.can_use_flash_attention(cuda.SDPAParams(query, key, value, mask, dropout, mask is None, True)))


def _hidden(first: int, last: int, first_key: int, window: int, device: torch.device) -> torch.Tensor:
    """[queries, keys]: which of the keys `first_key` to `last` the queries `first` to `last` must not see."""
    away = (torch.arange(first, last, device=device)[:, None] - torch.arange(first_key, last, device=device)[None])
    return (away < 0) | (away >= window)


@functools.lru_cache
def _triangle(size: int, groups: int, dtype: torch.dtype) -> torch.Tensor:
    """[size * groups, size]: minus infinity where a key comes after the query's token, else 0."""
    return torch.full((size, size), -math.inf, dtype=dtype).triu_(1).repeat_interleave(groups, 0)


class _Row:
    """One row's queries, keys and values, by key-value head.

    With n tokens, h key-value heads of size d and g query heads for each: q [h, n * g, d], the g queries of a token one
    after another, so that those of neighbouring tokens are a slice; k and v [h, n, d]. All products are computed in the
    model's format: scores in fp32 took twice as long on a processor with bf16 arithmetic, and left the losses of
    SmolLM2's rows no closer to those of an fp32 model.
    """

    def __init__(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scaling: float, window: int):
        self.groups, self.window, self.tokens, self.scaling = q.shape[0] // k.shape[0], window, k.shape[1], scaling
        self.q, self.k, self.v = self.by_token(q), k.contiguous(), v.contiguous()
        self.nothing = q.new_zeros(1, 1, 1)

    def by_token(self, x: torch.Tensor) -> torch.Tensor:
        """[h * g, n, d] → [h, n * g, d]."""
        return x.unflatten(0, (-1, self.groups)).transpose(1, 2).flatten(1, 2)

    def by_head(self, x: torch.Tensor) -> torch.Tensor:
        """[h, n * g, d] → [h * g, n, d]."""
        return x.unflatten(1, (-1, self.groups)).transpose(1, 2).flatten(0, 1)

    def blocks(self) -> Iterator[tuple[slice, slice, torch.Tensor]]:
        """Queries (of `q`), the keys that any of them sees, and the probabilities [h, queries, keys]."""
        size = BLOCK[self.q.dtype]
        for first in range(0, self.tokens, size):
            last = min(first + size, self.tokens)
            queries, keys = slice(first * self.groups, last * self.groups), slice(max(0, first - self.window + 1), last)
            scores = torch.baddbmm(self.nothing, self.q[:, queries], self.k[:, keys].transpose(1, 2), beta=0,
                                   alpha=self.scaling)
            if last <= self.window:  # only the last square holds keys that come too late
                scores[..., first:] += _triangle(last - first, self.groups, scores.dtype)
            else:
                hidden = _hidden(first, last, keys.start, self.window, scores.device)
                scores.masked_fill_(hidden.repeat_interleave(self.groups, 0), -math.inf)
            yield queries, keys, torch.softmax(scores, dim=-1)


class _PerRow(torch.autograd.Function):
    """softmax(q k' scaling) v for each row by itself; gradients as in FlashAttention (arXiv 2205.14135, appendix B)."""

    @staticmethod
    def forward(ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, lengths: list[int],
                scaling: float, window: int) -> torch.Tensor:
        # Values may be narrower than keys: MiniCPM 3's are.
        out = _blank(query[..., :1].expand(*query.shape[:-1], value.shape[-1]), lengths).transpose(1, 2)
        for q, k, v, mixed in _rows(lengths, query, key, value, out.transpose(1, 2)):
            row = _Row(q, k, v, scaling, window)
            parts = [torch.bmm(probabilities, row.v[:, keys]) for _, keys, probabilities in row.blocks()]
            mixed.copy_(row.by_head(torch.cat(parts, dim=1)))
        ctx.save_for_backward(query, key, value)
        ctx.lengths, ctx.scaling, ctx.window = lengths, scaling, window
        return out

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        inputs = ctx.saved_tensors
        grads = [_blank(x, ctx.lengths) for x in inputs]
        for q, k, v, out, *results in _rows(ctx.lengths, *inputs, grad.transpose(1, 2), *grads):
            _row_backward(_Row(q, k, v, ctx.scaling, ctx.window), out, ctx.scaling, *results)
        return *grads, None, None, None


def _blank(like: torch.Tensor, lengths: list[int]) -> torch.Tensor:
    """Memory for a result of the shape of `like`, laid out by token; zero where padding would stay unwritten."""
    batch, heads, tokens, size = like.shape
    make = like.new_empty if sum(lengths) == batch * tokens else like.new_zeros
    return make(batch, tokens, heads, size).transpose(1, 2)


def _rows(lengths: list[int], *tensors: torch.Tensor) -> Iterator[tuple[torch.Tensor, ...]]:
    """Each row's slice [heads, tokens, size] of packed tensors [1, heads, all tokens, size], or of padded ones."""
    if len(lengths) == tensors[0].shape[0]:
        return zip(*([part[:, :length] for part, length in zip(tensor, lengths, strict=True)] for tensor in tensors),
                   strict=True)
    return zip(*(tensor[0].split(lengths, dim=1) for tensor in tensors), strict=True)


def _row_backward(row: _Row, grad: torch.Tensor, scaling: float, grad_q: torch.Tensor, grad_k: torch.Tensor,
                  grad_v: torch.Tensor) -> None:
    """Write one row's gradients into `grad_q`, `grad_k` and `grad_v`."""
    grad, parts = row.by_token(grad), []
    sum_k, sum_v = torch.zeros_like(row.k, dtype=torch.float32), torch.zeros_like(row.v, dtype=torch.float32)
    for queries, keys, probabilities in row.blocks():
        out = grad[:, queries]
        _add_product(sum_v[:, keys], probabilities.transpose(1, 2), out)
        grad_probabilities = torch.bmm(out, row.v[:, keys].transpose(1, 2))
        scores = torch._softmax_backward_data(grad_probabilities, probabilities, -1, out.dtype)
        parts.append(torch.bmm(scores, row.k[:, keys]))
        _add_product(sum_k[:, keys], scores.transpose(1, 2), row.q[:, queries])
    torch.mul(row.by_head(torch.cat(parts, dim=1)), scaling, out=grad_q)
    grad_k.copy_(sum_k.mul_(scaling))
    grad_v.copy_(sum_v)


def _add_product(total: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> None:
    """total (fp32) += left @ right."""
    if left.dtype == total.dtype:
        total.baddbmm_(left, right)
    else:
        total += torch.bmm(left, right)
