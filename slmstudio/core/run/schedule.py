"""How many rows a run learns and how many steps it takes: the one count of the plan, the window and the worker."""

from __future__ import annotations

import math
from collections.abc import Sequence

from slmstudio.core.data import split
from slmstudio.core.data.record import Record
from slmstudio.core.run.config import RunConfig

FEW_ROWS = 100
"""Evaluations read at most as many rows as are learned, or this many if that's more. Without a backward pass, a row
takes about a third of the time, so they add at most a third to the training time."""


def divided(records: Sequence[Record], config: RunConfig) -> tuple[list[Record], list[Record]]:
    """The rows of `train_file` that are learned, and those that are split off to be evaluated."""
    if config.eval_file:
        return list(records), []
    return split.split_evenly(records, config.eval_fraction, config.split_seed, config.split_by)


def steps_per_epoch(config: RunConfig, rows: int) -> int:
    """Optimizer updates in one pass over `rows` rows, counted as transformers' Trainer does."""
    return math.ceil(math.ceil(rows / config.micro_batch_size) / config.gradient_accumulation_steps)


def total_steps(config: RunConfig, rows: int) -> int:
    """Optimizer updates of a run that learns `rows` rows."""
    return config.max_steps or max(1, math.ceil(config.epochs * steps_per_epoch(config, rows)))


def most_evaluations(config: RunConfig, rows: int, evaluated: int) -> int:
    """How many evaluations there may be besides the one before the first step: at least one, and any number of few
    rows.

    Args:
        evaluated: rows that each evaluation reads.
    """
    if evaluated <= FEW_ROWS:
        return 10**9
    return max(1, total_steps(config, rows) * config.effective_batch_size // evaluated - 1)
