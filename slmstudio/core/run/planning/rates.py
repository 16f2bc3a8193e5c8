"""The rank and the learning rates that suit models by their size."""

from __future__ import annotations

import math
from typing import NamedTuple


class Usual(NamedTuple):
    """What suits models with fewer parameters than `below`: an adapter's rank, its learning rate at that rank, and the
    learning rate for all weights."""

    below: float
    rank: int
    lora_rate: float
    full_rate: float


BY_SIZE = (Usual(200e6, 64, 1.4e-3, 1e-4), Usual(500e6, 16, 1e-3, 5e-5), Usual(2e9, 16, 3e-4, 2e-5),
           Usual(math.inf, 16, 2e-4, 1e-5))
"""The first row was measured (docs/defaults.md), the others are usual. With alpha at twice the rank, an adapter of four
times the rank is changed about as much by steps of half the size, so the rate goes with the root of the rank."""


def usual_for(parameters: int) -> Usual:
    return next(usual for usual in BY_SIZE if parameters < usual.below)
