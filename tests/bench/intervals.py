"""Whether intervals hold the true score 95% of the time, and how often equal models are called different.

    python tests/bench/intervals.py [--trials 2000] [--rows 20 50 100 200 500] [--json]

For each shape and size: how many of the intervals hold the true value, in percent; for pairs of equal models, how many
intervals of the difference hold 0, and how many verdicts are "better" or "worse". Exit status 1 when coverage leaves 93
to 97%, or false alarms 6%, by more than the simulation's own uncertainty. Too high a coverage counts for scores only:
where two models differ in one or two of 20 right-or-wrong rows, no interval of the difference holds as seldom as that.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from support import score_shapes
from support.score_shapes import Pair, Shape

from slmstudio.core.evaluation.scores import verdicts
from slmstudio.core.evaluation.scores.statistics import NORMAL_QUANTILE, compare, difference_interval, interval, wilson

LEAST, MOST, ALARMS = 93.0, 97.0, 6.0
SHARES = (0.05, 0.1, 0.3, 0.5, 0.8, 0.95)


def coverage(shape: Shape, rows: int, trials: int, seed: int) -> float:
    """Percent of intervals that hold the true score."""
    rng = np.random.default_rng(seed)
    held = 0
    for _ in range(trials):
        found = interval(shape.draw(rng, rows), shape.metric)
        held += found.low <= shape.truth <= found.high
    return 100 * held / trials


def share_coverage(share: float, rows: int) -> float:
    """The same for yes-or-no rows, without chance: over all counts there can be, for shares within a fifth of `share`.

    A single share would say how its own few counts happen to fall (Brown, Cai and DasGupta, "Interval estimation for a
    binomial proportion", Statistical Science 16, 2001).
    """
    bounds = [wilson(right / rows, rows, NORMAL_QUANTILE) for right in range(rows + 1)]
    width = min(share, 1 - share) / 5
    held = []
    for each in np.linspace(share - width, share + width, 101):
        logs = [math.lgamma(rows + 1) - math.lgamma(k + 1) - math.lgamma(rows - k + 1) + k * math.log(each)
                + (rows - k) * math.log1p(-each) for k in range(rows + 1)]
        held.append(sum(math.exp(log) for log, (low, high) in zip(logs, bounds, strict=True) if low <= each <= high))
    return 100 * float(np.mean(held))


def alarms(pair: Pair, rows: int, trials: int, seed: int) -> tuple[float, float]:
    """Percent of intervals that hold 0, the true difference, and percent of verdicts that see one."""
    rng = np.random.default_rng(seed)
    held = wrong = 0
    for _ in range(trials):
        first, second = pair.draw(rng, rows)
        low, high, _ = difference_interval(first, second, pair.metric)
        if low <= 0 <= high:
            held += 1  # and so the verdict is "unknown", whatever the slow test says
            continue
        found = compare(first, second, pair.metric)
        scores = float(pair.metric.score(first.sum(0))), float(pair.metric.score(second.sum(0)))
        wrong += verdicts.verdict(pair.metric, *scores, found, found.p) != verdicts.UNKNOWN
    return 100 * held / trials, 100 * wrong / trials


def measure(trials: int, sizes: list[int]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []

    def say(**row: Any) -> None:
        found.append(row)
        print(f"{row['what']:<28}{row['rows']:>5} rows  held {row['held']:5.1f}%"
              + (f"  false alarms {row['alarms']:4.1f}%" if "alarms" in row else ""), file=sys.stderr, flush=True)

    for rows in sizes:
        for share in SHARES:
            say(what=f"right {share:.0%}", rows=rows, held=share_coverage(share, rows), exact=True)
        for i, shape in enumerate((*score_shapes.MEANS, *score_shapes.corpora())):
            say(what=shape.name, rows=rows, held=coverage(shape, rows, trials, 1000 * rows + i))
        for i, pair in enumerate(score_shapes.pairs()):
            held, wrong = alarms(pair, rows, trials, 1000 * rows + 500 + i)
            say(what=f"equal: {pair.name}", rows=rows, held=held, alarms=wrong)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--rows", type=int, nargs="+", default=[20, 50, 100, 200, 500])
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found = measure(given.trials, given.rows)
    chance = 100 * 2 * math.sqrt(0.95 * 0.05 / given.trials)
    outside = [row for row in found
               if row["held"] < LEAST - chance or (row["held"] > MOST + chance and "alarms" not in row)]
    outside += [row for row in found if row.get("alarms", 0) > ALARMS + chance]
    if given.json:
        print(json.dumps({"trials": given.trials, "chance": chance, "found": found, "outside": outside}, indent=1))
    for row in outside:
        print("outside:", row, file=sys.stderr)
    return bool(outside)


if __name__ == "__main__":
    sys.exit(main())
