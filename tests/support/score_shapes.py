"""Rows of scores whose true value is known, in the shapes that real test sets have; for simulations."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slmstudio.core.evaluation.scores.metrics import METRICS, Metric, row_counts

Rows = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Rows]


@dataclass(frozen=True)
class Shape:
    """
    Attributes:
        draw: (random, rows) → counts (rows, width).
        truth: the score of endless rows.
    """

    name: str
    metric: Metric
    draw: Draw
    truth: float


def _beta(a: float, b: float) -> Draw:
    return lambda rng, n: rng.beta(a, b, n)


def _mixed(zeros: float, ones: float, a: float, b: float) -> Draw:
    """That share of rows is 0, that is 1, the others lie between."""

    def draw(rng: np.random.Generator, n: int) -> Rows:
        where, values = rng.random(n), rng.beta(a, b, n)
        values[where < zeros], values[where > 1 - ones] = 0.0, 1.0
        return values

    return draw


def _mean(name: str, draw: Draw, truth: float) -> Shape:
    return Shape(name, METRICS["rouge_l"], lambda rng, n: np.stack([draw(rng, n), np.ones(n)], 1), 100 * truth)


def _nats(rng: np.random.Generator, n: int) -> Rows:
    """Answers of very different length; each has a difficulty of its own, short ones more of it."""
    tokens = np.maximum(1, rng.lognormal(2.5, 0.9, n).round())
    return np.stack([tokens * rng.gamma(2.0, 0.7, n) * (1 + 2 / tokens), tokens], 1)


def _loss() -> Shape:
    many = _nats(np.random.default_rng(3), 4_000_000).sum(0)
    return Shape("loss", METRICS["loss"], _nats, float(many[0] / many[1]))


MEANS = (
    _mean("bell", _beta(5, 5), 0.5),
    _mean("skewed", _beta(0.8, 4), 0.8 / 4.8),
    _mean("very skewed", _beta(0.4, 6), 0.4 / 6.4),
    _mean("near 100", _beta(6, 0.6), 6 / 6.6),
    _mean("0, 100, between", _mixed(0.5, 0.25, 2, 2), 0.25 + 0.25 / 2),
    _mean("most are 0", _mixed(0.85, 0.05, 1, 1), 0.05 + 0.1 / 2),
    _mean("most are 100", _mixed(0.03, 0.8, 3, 2), 0.8 + 0.17 * 0.6),
    _mean("thirds", lambda rng, n: rng.integers(0, 4, n) / 3, 0.5),
    _mean("like ROUGE-L", _mixed(0.3, 0.05, 1.5, 4), 0.05 + 0.65 * 1.5 / 5.5),
)

TEXT = ("यह वह राशन कार्ड के लिए दस्तावेज़ आवश्यक हैं। कार्यालय में the office opens at nine form number १२ आवेदन "
        "शुल्क fee is paid पचास रुपये monthly pension वृद्धावस्था योजना applies here, please जन्म प्रमाण पत्र लाइए।")
WORDS = TEXT.split()


@functools.cache
def text_rows(rows: int = 400) -> dict[str, tuple[Rows, Rows]]:
    """Counts of two models' answers to the same questions, by metric; the two are equally good and differ by row."""
    rng = random.Random(7)
    kept: dict[str, tuple[list[list[float]], list[list[float]]]] = {}
    for _ in range(rows):
        words = rng.choices(WORDS, k=min(40, 2 + int(rng.expovariate(0.12))))
        hard = rng.random()
        item = {"kind": "free", "references": [" ".join(words)]}
        answers = [{"answer": _answer(rng, words, hard)} for _ in range(2)]
        for side, counts in enumerate(row_counts(item, answers)):
            for key in ("chrf", "bleu"):
                kept.setdefault(key, ([], []))[side].append(counts[key])
    return {key: (np.array(one), np.array(other)) for key, (one, other) in kept.items()}


def _answer(rng: random.Random, words: list[str], hard: float) -> str:
    """Right with luck; else with words changed, more of them where the question is hard, or cut, or far off."""
    if rng.random() > hard + 0.3:
        return " ".join(words)
    changed = [rng.choice(WORDS) if rng.random() < hard else word for word in words]
    return " ".join(changed[: rng.randint(1, len(changed))] if rng.random() < 0.4 else changed)


def texts(key: str) -> Shape:
    """Corpus scores of real counts: rows are drawn from a set of answers whose own score is the truth."""
    one, other = text_rows()[key]
    every = np.concatenate([one, other])
    metric = METRICS[key]
    return Shape(metric.name, metric, lambda rng, n: every[rng.integers(0, len(every), n)],
                 float(metric.score(every.sum(0))))


def corpora() -> tuple[Shape, ...]:
    return texts("chrf"), texts("bleu"), _loss()


@dataclass(frozen=True)
class Pair:
    """Two models that are equally good.

    Attributes:
        draw: (random, rows) → the counts of each.
    """

    name: str
    metric: Metric
    draw: Callable[[np.random.Generator, int], tuple[Rows, Rows]]


def _pair(name: str, draw: Callable[[np.random.Generator, int], tuple[Rows, Rows]], key: str = "rouge_l") -> Pair:
    def counted(rng: np.random.Generator, n: int) -> tuple[Rows, Rows]:
        one, other = draw(rng, n)
        return np.stack([one, np.ones(n)], 1), np.stack([other, np.ones(n)], 1)

    return Pair(name, METRICS[key], counted)


def _two_tries(rng: np.random.Generator, n: int) -> tuple[Rows, Rows]:
    hard = rng.beta(2, 3, n)
    return np.clip(hard + rng.normal(0, 0.2, n), 0, 1), np.clip(hard + rng.normal(0, 0.2, n), 0, 1)


def _few_changes(rng: np.random.Generator, n: int) -> tuple[Rows, Rows]:
    """As a quantized model: most answers are the same."""
    one, other, same = rng.beta(1, 3, n), rng.beta(1, 3, n), rng.random(n) < 0.7
    return one, np.where(same, one, other)


def _other_spread(rng: np.random.Generator, n: int) -> tuple[Rows, Rows]:
    """One is always half right, the other hit or miss."""
    luck = rng.random(n)
    return rng.beta(2, 2, n), np.where(luck < 0.4, 0.0, np.where(luck < 0.8, 1.0, 0.5))


def _right_or_wrong(share: float, changed: float) -> Callable[[np.random.Generator, int], tuple[Rows, Rows]]:
    def draw(rng: np.random.Generator, n: int) -> tuple[Rows, Rows]:
        one, other = rng.random(n) < share, rng.random(n) < share
        return one.astype(float), np.where(rng.random(n) < changed, other, one).astype(float)

    return draw


def _text_pair(key: str) -> Pair:
    def draw(rng: np.random.Generator, n: int) -> tuple[Rows, Rows]:
        one, other = text_rows()[key]
        rows, swap = rng.integers(0, len(one), n), rng.random((n, 1)) < 0.5
        return np.where(swap, one[rows], other[rows]), np.where(swap, other[rows], one[rows])

    return Pair(METRICS[key].name, METRICS[key], draw)


def _loss_pair(rng: np.random.Generator, n: int) -> tuple[Rows, Rows]:
    base = _nats(rng, n)
    return tuple(np.stack([base[:, 0] * rng.lognormal(0, 0.3, n), base[:, 1]], 1) for _ in range(2))  # type: ignore


def pairs() -> tuple[Pair, ...]:
    return (
        _pair("two tries", _two_tries), _pair("few changes", _few_changes), _pair("other spread", _other_spread),
        _pair("right 30%", _right_or_wrong(0.3, 1.0), "accuracy"),
        _pair("right 90%", _right_or_wrong(0.9, 1.0), "accuracy"),
        _pair("right 60%, few changes", _right_or_wrong(0.6, 0.2), "accuracy"),
        _text_pair("chrf"), _text_pair("bleu"), Pair("loss", METRICS["loss"], _loss_pair))
