"""The rank and the learning rates that suit models by their size."""

from __future__ import annotations

import math
from typing import NamedTuple

from slmstudio.core.run.run_fields import PREFERENCES

SCRATCH_RATE = 1e-3


class Usual(NamedTuple):
    """What suits models with fewer parameters than `below`: an adapter's rank, its learning rate at that rank, and the
    learning rate for all weights."""

    below: float
    rank: int
    lora_rate: float
    full_rate: float


BY_SIZE = (Usual(200e6, 64, 1.4e-3, 1e-4), Usual(500e6, 16, 1e-3, 5e-5), Usual(2e9, 16, 3e-4, 2e-5),
           Usual(math.inf, 16, 2e-4, 1e-5))
"""The first row was measured, the second was tried on one model (docs/defaults.md), and the others are usual. With
alpha at twice the rank, an adapter of four times the rank is changed about as much by steps of half the size, so the
rate goes with the root of the rank."""


ENOUGH_TOKENS, SMALLEST_PART = 120, 0.25
"""Learned tokens of a step from which the rate isn't lowered, and the least part of it (docs/defaults.md)."""


def usual_for(parameters: int) -> Usual:
    return next(usual for usual in BY_SIZE if parameters < usual.below)


def usual_rate(method: str, objective: str, parameters: int, rank: int | None = None) -> float:
    """The learning rate that is proposed.

    Args:
        rank: of an adapter; None is the usual one.
    """
    usual = usual_for(parameters)
    larger = (rank or usual.rank) / usual.rank  # than what the rate was found for
    rate = (SCRATCH_RATE if method == "scratch" else usual.full_rate if method == "full" else
            float(f"{usual.lora_rate / math.sqrt(max(larger, 0.01)):.1e}"))
    return rate / preference_part(objective)


def part_for(learned_tokens: float) -> float:
    """The part of an adapter's rate that suits steps which learn few tokens.

    AdamW's steps have the same size whatever the gradient. The fewer tokens it is a mean of, the more of it is chance,
    and noise over n of them falls with the root of n.

    Args:
        learned_tokens: of a step, mean.
    """
    return min(1.0, max(SMALLEST_PART, math.sqrt(learned_tokens / ENOUGH_TOKENS)))


def preference_part(objective: str) -> int:
    """By how much the rate for answers is divided for an objective."""
    return 1 if objective not in PREFERENCES else 4 if objective == "orpo" else 10
