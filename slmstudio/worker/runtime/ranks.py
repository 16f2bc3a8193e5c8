"""Who this process is among those that train one run together, and what they say to each other.

torchrun starts them and numbers them in the environment. Tensors go between cards by NCCL, and between processors, as all
that is said here, by gloo. Nothing waits for ever: see `SECONDS`.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

SECONDS = 600.0
"""How long one rank waits for another. A rank that is gone is noticed at once; this is for one that hangs."""


def rank() -> int:
    """This process's number among those of one job, 0 where it runs alone."""
    return int(os.environ.get("RANK") or os.environ.get("LOCAL_RANK") or 0)


def local_rank() -> int:
    """Its number among those of this machine."""
    return int(os.environ.get("LOCAL_RANK") or 0)


def world_size() -> int:
    """How many there are, on all machines."""
    return int(os.environ.get("WORLD_SIZE") or 1)


def is_first() -> bool:
    """Whether this one alone writes the run's folder and reads its commands."""
    return rank() == 0


def start(gpu: bool) -> None:
    """Meet the other ranks. Does nothing in a process that runs alone.

    Args:
        gpu: whether they compute on cards; this one takes the card of its local number.

    Raises:
        RuntimeError: they didn't come within the time.
    """
    if world_size() == 1:
        return
    import torch
    from torch import distributed

    if gpu:
        torch.cuda.set_device(local_rank())
    distributed.init_process_group("cpu:gloo,cuda:nccl" if gpu else "gloo", timeout=timedelta(seconds=SECONDS))


def close() -> None:
    """Part from the others."""
    from torch import distributed

    if distributed.is_initialized():
        distributed.destroy_process_group()


def broadcast(value: Any) -> Any:
    """The first rank's `value`, on each rank; every rank must call it.

    Raises:
        RuntimeError: a rank is gone or hangs.
    """
    if world_size() == 1:
        return value
    from torch import distributed

    box = [value if is_first() else None]
    distributed.broadcast_object_list(box, src=0)
    return box[0]


def gather(value: Any) -> list[Any]:
    """The `value` of each rank in their order, on each rank; every rank must call it.

    Raises:
        RuntimeError: a rank is gone or hangs.
    """
    if world_size() == 1:
        return [value]
    from torch import distributed

    found: list[Any] = [None] * world_size()
    distributed.all_gather_object(found, value)
    return found
