"""The micro-batches of a run in their order, and the longest of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from slmstudio.core.run import curves
from slmstudio.core.run.config import RunConfig
from slmstudio.worker.training.rows.batches import BatchOrder

MOST_EPOCHS = 3
"""Epochs that are looked at; each has another order, and after some the longest is hardly longer."""


Rows = np.ndarray[Any, Any]
"""[micro-batches, rows]: positions in a dataset."""


def of_run(trainer: Any, config: RunConfig) -> Rows:
    """The rows of each micro-batch that the run will meet, as positions in its dataset; only whole ones, if there are
    any."""
    order, size, found = trainer.order, config.micro_batch_size, []
    per_epoch = curves.steps_per_epoch(config, len(trainer.train_dataset))
    for epoch in range(min(MOST_EPOCHS, math.ceil(trainer.total_steps / per_epoch))):
        if isinstance(order, BatchOrder):
            order.set_epoch(epoch)
        found.append(groups(np.fromiter(order, dtype=np.int64), size))
    return np.concatenate(found)[: trainer.total_steps * config.gradient_accumulation_steps]


def groups(order: np.ndarray[Any, Any], size: int) -> Rows:
    """An order of rows, cut into micro-batches; only whole ones, if there are any."""
    whole = len(order) // size
    return order[: whole * size].reshape(-1, size) if whole else order[None]


def tokens(batches: Rows, lengths: np.ndarray[Any, Any], config: RunConfig) -> np.ndarray[Any, Any]:
    """Tokens that each micro-batch holds in memory: packed rows end to end, others filled up to the longest."""
    each = lengths[batches]
    return each.sum(axis=1) if config.packing else each.shape[1] * each.max(axis=1)


def longest(batches: Rows, lengths: np.ndarray[Any, Any], config: RunConfig) -> list[int]:
    found: list[int] = batches[int(tokens(batches, lengths, config).argmax())].tolist()
    return found
