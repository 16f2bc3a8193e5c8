"""Rotary positions (arXiv 2104.09864, eq. 34), in place."""

from __future__ import annotations

import torch


def _swap(x: torch.Tensor) -> torch.Tensor:
    """Second half of the last dimension before the first."""
    half = x.shape[-1] // 2
    return torch.cat((x[..., half:], x[..., :half]), dim=-1)


def rotate(heads: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> None:
    """Turn heads [tokens, heads, head size] by their positions, in place.

    Args:
        cos, sin: [tokens, 1, rotated size]; the first half of `sin` is negative (`signed`).
    """
    part = heads[..., : cos.shape[-1]]
    swapped = _swap(part)
    part.mul_(cos).addcmul_(swapped, sin)


def rotate_back(heads: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> None:
    part = heads[..., : cos.shape[-1]]
    swapped = _swap(part * sin)
    part.mul_(cos).add_(swapped)


def signed(sin: torch.Tensor) -> torch.Tensor:
    """sin [rows, tokens, size] with its first half negative: x cos + swap(x) sin is then the rotation."""
    half = sin.shape[-1] // 2
    return torch.cat((-sin[..., :half], sin[..., half:]), dim=-1)
