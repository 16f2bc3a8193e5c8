"""A model that the ranks share (FSDP2): brought together to be written, and spread again when it is read.

What is written is what one process writes, so that any number of ranks can continue from it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import DistributedType, FullyShardedDataParallelPlugin
from torch.distributed import get_rank
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

# -- Work inside a distributed model's forward pass, so that its wrapper takes part: DDP sums the gradients of what
# was computed there, and FSDP brings the weights together for it.


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


@dataclass(frozen=True)
class Whole:
    """What the first rank writes; the others have nothing in it.

    Attributes:
        weights: by name, on the processor; of an adapter's model only what learns.
        optimizer: the optimizer's state as `state_dict` has it in one process.
    """

    weights: dict[str, torch.Tensor]
    optimizer: dict[str, Any]


def collect(model: torch.nn.Module, optimizer: Any) -> Whole:
    """Bring a shared model and its optimizer together on the first rank, tensor by tensor. Every rank must call it."""
    adapter = hasattr(model, "peft_config")
    learning = {name for name, weight in model.named_parameters() if weight.requires_grad}
    weights = {name: _whole(value) for name, value in model.state_dict().items() if not adapter or name in learning}
    state = optimizer.state_dict()
    moments = {at: {name: _whole(value) for name, value in each.items()} for at, each in state["state"].items()}
    if get_rank() != 0:
        return Whole({}, {})
    return Whole(weights, {**state, "state": moments})


def _whole(value: Any) -> Any:
    if isinstance(value, DTensor):
        value = value.full_tensor()
    if not isinstance(value, torch.Tensor):
        return value
    return value.detach().cpu() if get_rank() == 0 else None


def also_on_processors(trainer: Any) -> None:
    """Let accelerate share a model among processors too: it would take DDP there, whatever it is told."""
    if trainer.args.fsdp_plugin_args is None or trainer.is_fsdp_enabled:
        return
    state = trainer.accelerator.state
    state.distributed_type = DistributedType.FSDP
    state.fsdp_plugin = FullyShardedDataParallelPlugin(**trainer.args.fsdp_plugin_args)
    trainer.is_fsdp_enabled = True


def load_optimizer(optimizer: Any, file: Path) -> None:
    """Load an optimizer's state; each rank keeps its part of each tensor."""
    state = torch.load(file, map_location="cpu", weights_only=True)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    spread_state = {
        at: {name: distribute_tensor(value.to(parameters[at].device), parameters[at].device_mesh,
                                     parameters[at].placements)
             if isinstance(value, torch.Tensor) and value.dim() and isinstance(parameters[at], DTensor) else value
             for name, value in each.items()}
        for at, each in state["state"].items()}
    optimizer.load_state_dict({**state, "state": spread_state})
