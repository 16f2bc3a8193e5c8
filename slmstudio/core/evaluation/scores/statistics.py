"""Confidence intervals of scores, and paired tests of two models on the same rows.

95% of the intervals hold the value that endless rows of the same kind would give. How they are made was chosen by
simulation (tests/bench/intervals.py prints it; docs/decisions says what lost). The bootstrap finds how far a score
moves when other rows are drawn. Its own percentiles aren't used: with 20 rows, most of them 0, they hold the true value
81% of the time, and BCa's 88%. Wilson's formula, which is known to hold for shares near 0 and 1, does so for every
score between 0 and 100 once it is told how many yes-or-no rows would move as far.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

from slmstudio.core.evaluation.scores.metrics import METRICS, Metric
from slmstudio.core.votes.tally import by_chance

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# -- Confidence intervals of scores: 95% of them hold the value that endless rows of the same kind would give.

LEVEL = 0.95
NORMAL_QUANTILE = NormalDist().inv_cdf((1 + LEVEL) / 2)
RESAMPLES = 1000
MOST_BLOCKS = 2000
"""More rows than these are joined to this many random blocks, which are resampled as rows are: the spread is the same,
and 100,000 rows take no longer than 2,000."""
SEED = 20_041  # of everything random in scoring: the same answers give the same scores


@dataclass(frozen=True)
class Interval:
    """
    Attributes:
        low, high: the 95% confidence interval; infinite where one row says nothing.
    """

    value: float
    low: float
    high: float
    rows: int


def interval(counts: NDArray[np.float64], metric: Metric) -> Interval:
    """The score of all rows and its interval.

    Args:
        counts: (rows, width), at least one row.
    """
    if metric.key == "perplexity":  # e to the loss, and so are its bounds
        loss = interval(counts, METRICS["loss"])
        return Interval(_exp(loss.value), _exp(loss.low), _exp(loss.high), loss.rows)
    rows = len(counts)
    value = float(metric.score(counts.sum(0)))
    if metric.yes_or_no:
        low, high = wilson(value / 100, rows, NORMAL_QUANTILE)
        return Interval(value, 100 * low, 100 * high, rows)
    if rows < 2:
        return Interval(value, 0.0, metric.most, rows)
    error = standard_error(metric.score, counts)
    quantile = student_quantile(freedom(metric.score, counts))
    if metric.most < math.inf:
        low, high = bounded(value / 100, error / 100, rows, quantile)
        return Interval(value, 100 * low, 100 * high, rows)
    # Nats have no upper bound and their rows a long tail upwards: equal steps of the logarithm hold better.
    factor = _exp(quantile * error / value) if value > 0 else 1.0
    return Interval(value, value / factor, value * factor, rows)


def wilson(share: float, rows: float, quantile: float) -> tuple[float, float]:
    """Wilson's interval of a share (Wilson 1927), 0 to 1.

    Args:
        rows: may be a fraction.
        quantile: of the normal or Student's distribution.
    """
    square = quantile * quantile / rows
    middle = (share + square / 2) / (1 + square)
    half = math.sqrt(share * (1 - share) * square + square * square / 4) / (1 + square)
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))


def bounded(value: float, error: float, rows: int, quantile: float) -> tuple[float, float]:
    """Wilson's interval for any mean or corpus score between 0 and 1.

    It takes the number of yes-or-no rows that would give the same standard error, as for surveys with clusters
    (Kott and Carr, "Developing an estimation strategy for a pesticide data program", Journal of Official Statistics 13,
    1997; Franco et al., "Comparative study of confidence intervals for proportions in complex sample surveys", Journal
    of Survey Statistics and Methodology 7, 2019).
    """
    value = min(1.0, max(0.0, value))
    variance = value * (1 - value)
    effective = float(rows) if variance == 0 else variance / max(error * error, 1e-18)
    return wilson(value, effective, quantile)


def freedom(score: Callable[[NDArray[np.float64]], NDArray[np.float64]], counts: NDArray[np.float64]) -> float:
    """Degrees of freedom with which the rows tell how far the score moves.

    2n / (κ − 1), that of a variance whose values have the kurtosis κ (Satterthwaite 1946); at most n − 1. Where a few
    rows decide, as rare successes or one very long answer, they are few. Of a corpus score the values are the
    jackknife's: n · score of all − (n − 1) · score without the row (Tukey 1958).

    Args:
        counts: (rows, width), two or more rows.
    """
    import numpy as np

    summed = blocks(counts)
    rows = len(summed)
    total = summed.sum(0)
    values = rows * score(total) - (rows - 1) * score(total - summed)
    apart = (values - values.mean()) ** 2
    if not apart.any():
        return rows - 1
    kurtosis = float(np.mean(apart**2) / np.mean(apart) ** 2)
    return min(rows - 1, 2 * rows / max(kurtosis - 1, 1e-9))


def standard_error(score: Callable[[NDArray[np.float64]], NDArray[np.float64]], *counts: NDArray[np.float64]) -> float:
    """How far the score moves from one drawing of the rows to another, by the bootstrap.

    Args:
        counts: (rows, width), two or more rows; or two of them of the same rows: the error of their difference.
    """
    import numpy as np

    rows = len(counts[0])
    weights = _weights(min(rows, MOST_BLOCKS))
    moved = [score(weights @ blocks(each)) for each in counts]
    difference = moved[0] - moved[1] if len(moved) > 1 else moved[0]
    return float(np.std(difference) * math.sqrt(rows / (rows - 1)))


def blocks(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rows, or the sums of `MOST_BLOCKS` random blocks of them where there are more: (blocks, width)."""
    import numpy as np

    rows = len(counts)
    if rows <= MOST_BLOCKS:
        return counts
    order = np.random.default_rng(SEED).permutation(rows)
    starts = np.linspace(0, rows, MOST_BLOCKS, endpoint=False).astype(np.int64)
    summed: NDArray[np.float64] = np.add.reduceat(counts[order], starts, axis=0)
    return summed


@functools.lru_cache(maxsize=4)
def _weights(rows: int) -> NDArray[np.float64]:
    """How often each row is drawn in each resample: (RESAMPLES, rows)."""
    import numpy as np

    drawn = np.random.default_rng(SEED).integers(0, rows, (RESAMPLES, rows))
    drawn += np.arange(RESAMPLES)[:, None] * rows
    return np.bincount(drawn.ravel(), minlength=RESAMPLES * rows).reshape(RESAMPLES, rows).astype(np.float64)


def student_quantile(freedom: float) -> float:
    """The 97.5% quantile of Student's distribution: 12.71, 4.30, 3.18 … 1.96.

    Args:
        freedom: 1 or more, also a fraction.
    """
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + LEVEL) / 2))


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf


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


def share_of_difference(of: NDArray[np.float64], whole: NDArray[np.float64], base: NDArray[np.float64],
                        metric: Metric) -> Interval | None:
    """Which share of `whole` less `base` is `of` less `base`, and its 95% interval; None where `whole` isn't clearly
    better than `base`: a share of nothing has no bounds.

    Fieller's interval of a ratio ("Some problems in interval estimation", Journal of the Royal Statistical Society B
    16, 1954), with errors by the bootstrap that draws the rows of all three together.
    """
    import numpy as np

    if (rows := len(of)) < 2:
        return None
    scores = [float(metric.score(each.sum(0))) for each in (of, whole, base)]
    part, all_ = scores[0] - scores[2], scores[1] - scores[2]
    drawn = _weights(min(rows, MOST_BLOCKS))
    moved = [metric.score(drawn @ blocks(each)) for each in (of, whole, base)]
    errors = student_quantile(rows - 1) ** 2 * rows / (rows - 1) * np.cov(
        moved[0] - moved[2], moved[1] - moved[2], ddof=0)
    a, b, c = all_ * all_ - errors[1, 1], part * all_ - errors[0, 1], part * part - errors[0, 0]
    if a <= 0 or (all_ > 0) != metric.higher_is_better:
        return None
    half = math.sqrt(max(0.0, b * b - a * c))
    return Interval(part / all_, float(b - half) / float(a), float(b + half) / float(a), rows)


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
    seen = (won - lost) / rows

    def refused(difference: float) -> bool:
        a = 2 * rows
        b = -won - lost + (2 * rows - won + lost) * difference
        c = -lost * difference * (1 - difference)
        share = (math.sqrt(max(0.0, b * b - 4 * a * c)) - b) / (2 * a)
        variance = rows * (2 * share + difference * (1 - difference))
        return (won - lost - rows * difference) ** 2 > NORMAL_QUANTILE * NORMAL_QUANTILE * max(variance, 0.0)

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
    z = NORMAL_QUANTILE + NormalDist().inv_cdf(POWER)
    rows = math.ceil((z * spread / difference) ** 2)
    return rows if rows <= MOST_ROWS else None
