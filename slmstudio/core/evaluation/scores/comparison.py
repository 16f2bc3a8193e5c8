"""Two models on the same rows: how far apart they are, and how often chance alone sets equal models so far apart."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

from slmstudio.core.evaluation.scores.intervals import (
    LEVEL,
    SEED,
    blocks,
    normal_quantile,
    standard_error,
    student_quantile,
)
from slmstudio.core.evaluation.scores.metrics import Metric
from slmstudio.core.votes.tally import by_chance

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

POWER = 0.8
MOST_ROWS = 1_000_000
"""Nobody is asked for more rows than these."""
SWAPS = 9_999
SWAPS_AT_ONCE = 1_111


@dataclass(frozen=True)
class Difference:
    """
    Attributes:
        value, low, high: the first model's score less the second's, and its 95% interval; infinite for one row.
        p: of the paired test, two-sided.
        rows: that both answered.
        rows_needed: this many rows would tell the two apart in four of five tries, if the difference is as seen; None
            if the scores are the same, or more than `MOST_ROWS` would be needed.
    """

    value: float
    low: float
    high: float
    p: float
    rows: int
    rows_needed: int | None


def compare(first: NDArray[np.float64], second: NDArray[np.float64], metric: Metric) -> Difference:
    """Compare two models' counts of the same rows.

    Args:
        first, second: (rows, width), at least one row.
    """
    rows = len(first)
    value = float(metric.score(first.sum(0))) - float(metric.score(second.sum(0)))
    low, high, spread = difference_interval(first, second, metric)
    p = by_chance(*_won_and_lost(first, second)) if metric.yes_or_no else by_swapping(first, second, metric.score)
    return Difference(value, low, high, p, rows, rows_needed(value, spread))


def difference_interval(first: NDArray[np.float64], second: NDArray[np.float64],
                        metric: Metric) -> tuple[float, float, float]:
    """
    Returns:
        The bounds of the 95% interval of the difference, infinite for one row; and how far rows differ by themselves
        (standard deviation; the error of the difference times the root of the rows).
    """
    rows = len(first)
    if metric.yes_or_no:
        won, lost = _won_and_lost(first, second)
        low, high = tango(won, lost, rows)
        return 100 * low, 100 * high, 100 * math.sqrt((won + lost) / rows - ((won - lost) / rows) ** 2)
    if rows < 2:
        return -math.inf, math.inf, math.inf
    value = float(metric.score(first.sum(0))) - float(metric.score(second.sum(0)))
    error = standard_error(metric.score, first, second)
    half = student_quantile(rows - 1) * error
    return value - half, value + half, error * math.sqrt(rows)


def _won_and_lost(first: NDArray[np.float64], second: NDArray[np.float64]) -> tuple[int, int]:
    """Rows that only the first, and that only the second, has right."""
    return int((first[:, 0] > second[:, 0]).sum()), int((first[:, 0] < second[:, 0]).sum())


def by_swapping(first: NDArray[np.float64], second: NDArray[np.float64],
                score: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> float:
    """How often the scores are as far apart when, row by row, a coin decides which answer is whose; two-sided p.

    The paired permutation test, in machine translation called approximate randomisation (Noreen 1989; Riezler and
    Maxwell 2005), as `sacrebleu --paired-ar` does it, with 9,999 tries.
    """
    import numpy as np

    mine, others = blocks(first), blocks(second)
    moved = others - mine
    totals = mine.sum(0), others.sum(0)
    seen = abs(float(score(totals[0])) - float(score(totals[1])))
    as_far = 0
    coins = np.empty((SWAPS_AT_ONCE, len(moved)))  # made once: fresh memory costs more than the sums
    for tries in _coins(len(moved)).reshape(-1, *coins.shape):
        np.copyto(coins, tries)
        swapped = coins @ moved
        apart = np.abs(score(totals[0] + swapped) - score(totals[1] - swapped))
        as_far += int((apart >= seen - 1e-9).sum())
    return (1 + as_far) / (1 + SWAPS)


@functools.lru_cache(maxsize=2)
def _coins(rows: int) -> NDArray[np.int8]:
    """The coins of all tries, the same for every score of a set: (SWAPS, rows) of 0 and 1, 20 MB at most."""
    import numpy as np

    random = np.random.default_rng(SEED)
    drawn = [random.integers(0, 2, (SWAPS_AT_ONCE, rows), dtype=np.int8) for _ in range(SWAPS // SWAPS_AT_ONCE)]
    return np.concatenate(drawn)


def tango(won: int, lost: int, rows: int) -> tuple[float, float]:
    """The score interval of a difference of paired shares, −1 to 1.

    Tango, "Equivalence test and confidence interval for the difference in proportions for the paired-sample design",
    Statistics in Medicine 17, 1998. All differences that a score test doesn't refuse; found by halving.

    Args:
        won: rows that only the first model has right.
        lost: rows that only the second has right.
    """
    limit = normal_quantile()
    seen = (won - lost) / rows

    def refused(difference: float) -> bool:
        a = 2 * rows
        b = -won - lost + (2 * rows - won + lost) * difference
        c = -lost * difference * (1 - difference)
        share = (math.sqrt(max(0.0, b * b - 4 * a * c)) - b) / (2 * a)
        variance = rows * (2 * share + difference * (1 - difference))
        return (won - lost - rows * difference) ** 2 > limit * limit * max(variance, 0.0)

    bounds = []
    for far in (-1.0, 1.0):
        near = seen
        for _ in range(50):
            middle = (near + far) / 2
            near, far = (near, middle) if refused(middle) else (middle, far)
        bounds.append(near)
    return bounds[0], bounds[1]


def rows_needed(difference: float, spread: float) -> int | None:
    """Rows that show `difference` in four of five tries, where rows differ by `spread` (standard deviation).

    n = ((z₀.₉₇₅ + z₀.₈) · spread / difference)², the paired test's usual formula.
    """
    if difference == 0 or not math.isfinite(spread):
        return None
    z = normal_quantile(LEVEL) + NormalDist().inv_cdf(POWER)
    rows = math.ceil((z * spread / difference) ** 2)
    return rows if rows <= MOST_ROWS else None
