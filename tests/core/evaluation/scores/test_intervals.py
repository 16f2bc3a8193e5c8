"""Intervals hold what they say. tests/bench/intervals.py asks the same with many more trials."""

from __future__ import annotations

import math

import numpy as np
import pytest
from support import score_shapes
from support.score_shapes import Shape

from slmstudio.core.evaluation.scores.metrics import METRICS
from slmstudio.core.evaluation.scores.statistics import (
    MOST_BLOCKS,
    blocks,
    bounded,
    freedom,
    interval,
    standard_error,
    student_quantile,
    wilson,
)

TRIALS = 300
LEAST = 100 * (0.93 - 3.5 * math.sqrt(0.93 * 0.07 / TRIALS))  # the chance of less, at a coverage of 93%, is 1 in 4,000


def coverage(shape: Shape, rows: int) -> float:
    rng = np.random.default_rng(rows)
    found = [interval(shape.draw(rng, rows), shape.metric) for _ in range(TRIALS)]
    return 100 * float(np.mean([each.low <= shape.truth <= each.high for each in found]))


@pytest.mark.parametrize("shape", (*score_shapes.MEANS, *score_shapes.corpora()), ids=lambda shape: shape.name)
@pytest.mark.parametrize("rows", [20, 100])
def test_intervals_hold_the_true_score(shape: Shape, rows: int) -> None:
    assert coverage(shape, rows) >= LEAST


@pytest.mark.parametrize("shape", score_shapes.MEANS[:3], ids=lambda shape: shape.name)
def test_intervals_are_no_wider_than_they_need_be(shape: Shape) -> None:
    """Nearly always right is easy: from 0 to 100. Widths are those of the normal distribution."""
    rng = np.random.default_rng(1)
    rows = shape.draw(rng, 200)
    found = interval(rows, shape.metric)
    width = 2 * 1.96 * 100 * rows[:, 0].std(ddof=1) / math.sqrt(200)
    assert found.high - found.low == pytest.approx(width, rel=0.1)


def test_a_percentile_bootstrap_would_fail_this_test() -> None:
    """The test has teeth: the usual interval is too narrow where most rows are 0."""
    shape = next(shape for shape in score_shapes.MEANS if shape.name == "most are 0")
    rng = np.random.default_rng(20)
    held = 0
    for _ in range(TRIALS):
        rows = shape.draw(rng, 20)[:, 0]
        means = 100 * rows[rng.integers(0, 20, (500, 20))].mean(1)
        low, high = np.quantile(means, [0.025, 0.975])
        held += low <= shape.truth <= high
    assert 100 * held / TRIALS < LEAST


def test_wilson_is_the_known_one() -> None:
    assert wilson(0.0, 10, 1.959964) == pytest.approx((0, 0.2775), abs=1e-4)
    assert wilson(0.9, 10, 1.959964) == pytest.approx((0.5958, 0.9821), abs=1e-4)
    assert wilson(1.0, 10, 1.959964)[1] == 1


def test_of_yes_or_no_rows_the_general_interval_is_wilsons() -> None:
    rows = np.array([[1.0, 1.0]] * 30 + [[0.0, 1.0]] * 170)
    exact, general = interval(rows, METRICS["accuracy"]), interval(rows, METRICS["rouge_l"])
    assert exact.value == general.value == 15
    assert (general.low, general.high) == pytest.approx((exact.low, exact.high), rel=0.05)


def test_the_bootstraps_error_is_that_of_the_mean() -> None:
    rows = np.stack([np.random.default_rng(0).beta(2, 3, 400), np.ones(400)], 1)
    known = 100 * rows[:, 0].std(ddof=1) / math.sqrt(400)
    assert standard_error(METRICS["rouge_l"].score, rows) == pytest.approx(known, rel=0.08)


def test_blocks_move_as_rows_do() -> None:
    """Also where the file is sorted, as by subject."""
    values = np.sort(np.random.default_rng(0).beta(2, 3, 30_000))
    rows = np.stack([values, np.ones(30_000)], 1)
    assert blocks(rows).shape == (MOST_BLOCKS, 2) and blocks(rows).sum(0) == pytest.approx(rows.sum(0))
    known = 100 * values.std(ddof=1) / math.sqrt(30_000)
    assert standard_error(METRICS["rouge_l"].score, rows) == pytest.approx(known, rel=0.08)


def test_edges() -> None:
    one = np.array([[0.4, 1.0]])
    assert interval(one, METRICS["rouge_l"]).low == 0 and interval(one, METRICS["rouge_l"]).high == 100
    assert interval(np.array([[3.0, 2.0]]), METRICS["loss"]).high == math.inf
    same = interval(np.array([[0.0, 1.0]] * 20), METRICS["rouge_l"])
    assert same.value == same.low == 0 and 10 < same.high < 25  # 20 failures don't prove that it never succeeds
    assert bounded(1.0000001, 0.0, 20, 2.0)[1] == 1


def test_perplexity_is_e_to_the_loss_and_so_is_its_interval() -> None:
    rows = np.random.default_rng(0).gamma(4, 2, (50, 1)) * [[1.0, 0.0]] + [[0.0, 5.0]]
    loss, perplexity = interval(rows, METRICS["loss"]), interval(rows, METRICS["perplexity"])
    assert [math.log(each) for each in (perplexity.value, perplexity.low, perplexity.high)] == pytest.approx(
        [loss.value, loss.low, loss.high])
    assert loss.low < loss.value < loss.high


def test_student_quantiles() -> None:
    from scipy import stats

    for whole in (*range(1, 40), 100, 1000):
        assert student_quantile(whole) == pytest.approx(stats.t.ppf(0.975, whole), abs=1e-9)
    for between in (2.2, 3.7, 5.5, 8.9, 12.3):
        assert student_quantile(between) == pytest.approx(stats.t.ppf(0.975, between), abs=1e-9)


def test_rare_rows_leave_few_degrees_of_freedom() -> None:
    score = METRICS["rouge_l"].score
    rng = np.random.default_rng(0)
    normal = np.stack([0.5 + 0.01 * rng.normal(size=400), np.ones(400)], 1)
    rare = np.stack([np.arange(400) < 4, np.ones(400)], 1)
    assert 300 < freedom(score, normal) <= 399 and freedom(score, rare) == pytest.approx(8.2, abs=0.2)
    assert freedom(score, normal * 0 + 1) == 399
