"""The shape of a run's eval losses: what they say about more or fewer steps."""

from __future__ import annotations

import math
from collections.abc import Sequence

FALLING, SETTLED, TURNED, RISING, UNMOVED, BROKEN, UNKNOWN = (
    "falling", "settled", "turned", "rising", "unmoved", "broken", "unknown")
TURN = 0.02
"""Share of the lowest loss by which the last one is above it before that is more than noise."""
MOVED = 0.02
"""Share of the first loss that a run must win before it has learned anything worth a word."""
STILL = 0.08
"""Share of all that was won that the last third of the run must have won, where the loss was still falling."""
BREAK = 1.5
"""Times the first loss from which the weights, not the data, are at fault."""
FEWEST = 3


def shape(losses: Sequence[tuple[int, float]], train_loss: float | None = None) -> str:
    """One of the words above.

    Args:
        losses: (step, eval loss) with rising steps, the first before the training.
        train_loss: at the end. Where it is below every eval loss, the weights learned: they only overfitted.
    """
    values = [loss for _, loss in losses]
    if not values:
        return UNKNOWN
    learned = train_loss is not None and train_loss < min(filter(math.isfinite, values), default=-math.inf)
    if not math.isfinite(values[-1]) or (
            math.isfinite(values[0]) and values[-1] > BREAK * values[0] and not learned):
        return BROKEN
    finite = [(step, loss) for step, loss in losses if math.isfinite(loss)]
    if len(finite) < 2 or finite[0][0] != 0:
        return UNKNOWN
    (_, first), (last_step, last) = finite[0], finite[-1]
    best_step, best = min(finite, key=lambda each: each[1])
    if best_step == 0 and last > first * (1 + TURN):
        return RISING
    if last > best * (1 + TURN):
        return TURNED
    won = first - best
    if won < MOVED * first:
        return UNMOVED
    if len(finite) < FEWEST:
        return UNKNOWN
    before = min(loss for step, loss in finite if step <= last_step * 2 / 3)
    return FALLING if before - last >= STILL * won else SETTLED
