"""The micro-batches of a run in their order, and the longest of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from slmstudio.core.run import schedule
from slmstudio.core.run.config import RunConfig

MOST_EPOCHS = 3
"""Epochs that are looked at; each has another order, and after some the longest is hardly longer."""


def of_run(trainer: Any, config: RunConfig) -> list[list[int]]:
    """The rows of each micro-batch that the run will meet, as positions in its dataset; only whole ones, if there are
    any."""
    sampler, size, found = trainer._get_train_sampler(), config.micro_batch_size, []
    per_epoch = schedule.steps_per_epoch(config, len(trainer.train_dataset))
    for epoch in range(min(MOST_EPOCHS, math.ceil(trainer.total_steps / per_epoch))):
        if hasattr(sampler, "set_epoch"):
            sampler.set_epoch(epoch)
        order = list(sampler)
        found += [order[start : start + size] for start in range(0, len(order), size)]
    found = found[: trainer.total_steps * config.gradient_accumulation_steps]
    return [rows for rows in found if len(rows) == size] or found


def tokens(rows: Sequence[int], lengths: Sequence[int], config: RunConfig) -> int:
    """Tokens that a micro-batch holds in memory: packed rows end to end, others filled up to the longest."""
    if config.packing:
        return sum(lengths[row] for row in rows)
    return len(rows) * max(lengths[row] for row in rows)


def longest(batches: Sequence[list[int]], lengths: Sequence[int], config: RunConfig) -> list[int]:
    """The micro-batch with the most tokens."""
    return max(batches, key=lambda rows: tokens(rows, lengths, config))
