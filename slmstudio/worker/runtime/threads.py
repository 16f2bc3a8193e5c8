"""How many threads PyTorch computes with."""

from __future__ import annotations

import os

import torch


def use(count: int) -> None:
    """Compute with `count` threads, or with fewer where the environment allows only those (`OMP_THREAD_LIMIT`).

    oneDNN shares a product out among the threads that PyTorch asks for. If OpenMP then starts fewer, the shares of the
    others are never computed, and bf16 products hold whatever was in the memory before.
    """
    limit = os.environ.get("OMP_THREAD_LIMIT", "")
    torch.set_num_threads(max(1, min(count, int(limit)) if limit.isdecimal() else count))
