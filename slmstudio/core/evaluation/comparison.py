"""Two models on the same rows: how far apart they are, and how often chance alone sets equal models so far apart."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

from slmstudio.core.chat.tally import by_chance
from slmstudio.core.evaluation.intervals import LEVEL, Score, pseudo_values

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

POWER = 0.8


@dataclass(frozen=True)
class Difference:
    """
    Attributes:
        value, low, high: the first model's score less the second's, and its 95 % interval.
        p: of the paired test, two-sided.
        rows: that both answered.
        rows_needed: so many rows would tell the two apart in four of five tries, if the difference is as seen; None
            where the scores are the same, or more than `MOST_ROWS` would be needed.
    """

    value: float
    low: float
    high: float
    p: float
    rows: int
    rows_needed: int | None


def compare(first: NDArray[np.float64], second: NDArray[np.float64], score: Score,
            yes_or_no: bool = False) -> Difference:
    """Compare two models' counts of the same rows.

    Args:
        first, second: (rows, width), at least one row.
        score: sums (..., width) → scores (...).
        yes_or_no: rows are 0 or 1.
    """
    rows = len(first)
    value = float(score(first.sum(0))) - float(score(second.sum(0)))
    if rows < 2:
        return Difference(value, -math.inf, math.inf, 1.0, rows, None)
    values = pseudo_values(first, score) - pseudo_values(second, score)
    spread = float(values.std(ddof=1))
    half = 1.96 * spread / math.sqrt(rows)
    if yes_or_no:
        won, lost = int((first[:, 0] > second[:, 0]).sum()), int((first[:, 0] < second[:, 0]).sum())
        p = by_chance(won, lost)
    else:
        p = 1.0 if spread == 0 else 2 * NormalDist().cdf(-abs(value) / spread * math.sqrt(rows))
    return Difference(value, value - half, value + half, p, rows, rows_needed(value, spread))


MOST_ROWS = 1_000_000


def rows_needed(difference: float, spread: float) -> int | None:
    """Rows that show `difference` in four of five tries, where rows differ by `spread` (standard deviation)."""
    if difference == 0 or not math.isfinite(difference):
        return None
    normal = NormalDist()
    z = normal.inv_cdf((1 + LEVEL) / 2) + normal.inv_cdf(POWER)
    rows = math.ceil((z * spread / difference) ** 2)
    return rows if rows <= MOST_ROWS else None
