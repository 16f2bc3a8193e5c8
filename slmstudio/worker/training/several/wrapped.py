"""Work inside a distributed model's forward pass, so that its wrapper takes part: DDP sums the gradients of what was
computed there, and FSDP brings the weights together for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.nn.parallel import DistributedDataParallel


def within(model: Any, work: Callable[[], Any]) -> Any:
    """What `work` returns, run as the forward pass of `model`.

    Args:
        model: a model or a part of it, wrapped or not.
        work: may call parts of the model, but not the model itself.
    """
    inner = model.module if isinstance(model, DistributedDataParallel) else model
    own = inner.__dict__.get("forward")
    inner.forward = lambda run: run()
    try:
        return model(work)
    finally:
        if own is None:
            del inner.forward
        else:
            inner.forward = own
