"""Confidence intervals of scores."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """
    Attributes:
        value: the score of all rows.
        low, high: the 95 % confidence interval.
        rows: how many rows it rests on.
    """

    value: float
    low: float
    high: float
    rows: int


Score = Callable[["NDArray[np.float64]"], "NDArray[np.float64]"]


def wilson(right: int, rows: int, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's interval of a share, 0 to 1, which holds near 0 and 1 too (Wilson 1927)."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = right / rows
    middle = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z / (1 + z * z / rows) * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    return max(0.0, middle - half), min(1.0, middle + half)


def pseudo_values(counts: NDArray[np.float64], score: Score) -> NDArray[np.float64]:
    """The jackknife's: n · score of all − (n − 1) · score without the row (Tukey 1958).

    Args:
        counts: (rows, width).

    Returns:
        (rows,); their mean is near the score, and their spread is that of the score.
    """
    rows = len(counts)
    total = counts.sum(0)
    values: NDArray[np.float64] = rows * score(total) - (rows - 1) * score(total - counts)
    return values


def interval(counts: NDArray[np.float64], score: Score, yes_or_no: bool = False, least: float = 0.0,
             most: float = 100.0) -> Interval:
    """The score of all rows and its 95 % interval.

    Args:
        counts: (rows, width), at least one row.
        score: sums (..., width) → scores (...).
        yes_or_no: rows are 0 or 1 and the score is their share in percent.
        least, most: values that no score leaves.
    """
    rows = len(counts)
    value = float(score(counts.sum(0)))
    if yes_or_no:
        low, high = wilson(round(float(counts[:, 0].sum())), rows)
        return Interval(value, 100 * low, 100 * high, rows)
    if rows < 2:
        return Interval(value, least, most, rows)
    values = pseudo_values(counts, score)
    half = 1.96 * float(values.std(ddof=1)) / math.sqrt(rows)
    return Interval(value, max(least, value - half), min(most, value + half), rows)
