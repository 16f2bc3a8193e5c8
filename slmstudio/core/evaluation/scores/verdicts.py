"""What a comparison says, in a sentence, and no more than its rows can carry."""

from __future__ import annotations

import math
from collections.abc import Sequence

from slmstudio.core.evaluation.scores.comparison import Difference
from slmstudio.core.evaluation.scores.metrics import Metric
from slmstudio.core.i18n import noop, ntr, tr
from slmstudio.core.votes.tally import LEVEL

BETTER, WORSE, UNKNOWN = "better", "worse", "unknown"
SAME_ANSWERS = noop("The answers are the same.")
SAME_SCORES = noop("Every row has the same score.")


def holm(values: Sequence[float]) -> list[float]:
    """p values of several tests, corrected so that chance alone finds anything in one of 20 families only.

    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6, 1979.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(values)), key=lambda i: values[i])
    corrected, highest = [0.0] * len(values), 0.0
    for place, i in enumerate(order):
        highest = max(highest, min(1.0, (len(values) - place) * values[i]))
        corrected[i] = highest
    return corrected


def verdict(metric: Metric, of: float, with_: float, found: Difference, p: float) -> str:
    """`BETTER`, `WORSE` or `UNKNOWN`: only where test and interval agree, and the difference can be seen in print.

    Args:
        p: the test's, corrected where there are several.
    """
    shown = score_text(metric, of) != score_text(metric, with_)
    if p >= LEVEL or found.low <= 0 <= found.high or not shown:
        return UNKNOWN
    return BETTER if (found.value > 0) == metric.higher_is_better else WORSE


def sentence(metric: Metric, of: float, with_: float, found: Difference, p: float, tests: int = 1) -> str:
    """The comparison in one line.

    Args:
        tests: how many models were compared, where p is corrected for that.
    """
    values = {"score": score_text(metric, of), "other": score_text(metric, with_), "metric": tr(metric.name),
              "low": score_text(metric, found.low), "high": score_text(metric, found.high), "p": p_text(p)}
    if tests > 1:
        values["p"] = tr("{p} (corrected for {tests} comparisons)", p=values["p"], tests=tests)
    said = verdict(metric, of, with_, found, p)
    if said != UNKNOWN:
        values["difference"] = score_text(metric, found.value)
        return tr("Better: {score} against {other} {metric} (difference {difference}, {low} to {high}), {p}.",
                  **values) if said == BETTER else tr(
                  "Worse: {score} against {other} {metric} (difference {difference}, {low} to {high}), {p}.", **values)
    # Few rows with much to gain can move a test while the interval still has room for no difference at all.
    if p >= LEVEL or not found.low <= 0 <= found.high:
        scores = tr("{score} against {other} {metric}, {p}.",
                    **{name: values[name] for name in ("score", "other", "metric", "p")})
    else:
        scores = tr("{score} against {other} {metric}, {p}, but the difference may be anything from {low} to {high}.",
                    **values)
    return f"{_undecided(found)} {scores}"


def _undecided(found: Difference) -> str:
    needed = found.rows_needed
    if needed is not None and needed > found.rows:
        return ntr("No difference that {n:,} row can show; about {needed:,} would.",
                   "No difference that {n:,} rows can show; about {needed:,} would.", found.rows,
                   needed=rounded_up(needed))
    return ntr("No difference that {n:,} row can show.", "No difference that {n:,} rows can show.", found.rows)


def rounded_up(count: int) -> int:
    """Two digits of a count that is an estimate.

    >>> rounded_up(7), rounded_up(183), rounded_up(12_345)
    (7, 190, 13000)
    """
    size: int = 10 ** max(0, len(str(count)) - 2)
    return -(-count // size) * size


def score_text(metric: Metric, value: float) -> str:
    """With as many digits as mean something: 52.4, and 1.234 of nats a token."""
    if not math.isfinite(value):
        return tr("unknown")
    text = f"{value:.{3 if metric.key == 'loss' else 1}f}"
    return text.replace("-", "" if float(text) == 0 else "−")


def p_text(p: float) -> str:
    """Two digits, and more where two would round p up to the level that decides.

    >>> p_text(0.0004), p_text(0.0312), p_text(0.43), p_text(0.999), p_text(0.0499)
    ('p < 0.001', 'p = 0.031', 'p = 0.43', 'p = 1', 'p = 0.0499')
    """
    if p < 0.001:
        return "p < 0.001"
    short = f"{p:.2g}"
    return f"p = {short}" if (float(short) < LEVEL) == (p < LEVEL) else f"p = {p:.3g}"
