"""Intervals hold what they say, and paired tests call equal models different in at most one of 20 cases.

tests/bench/intervals.py asks the same with many more trials.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from support import score_shapes
from support.score_shapes import Pair, Shape

from slmstudio.core.evaluation.scores import verdicts
from slmstudio.core.evaluation.scores.metrics import METRICS
from slmstudio.core.evaluation.scores.statistics import (
    MOST_BLOCKS,
    blocks,
    bounded,
    by_swapping,
    compare,
    difference_interval,
    freedom,
    interval,
    rows_needed,
    standard_error,
    tango,
    wilson,
)

TRIALS = 300
LEAST = 100 * (0.93 - 3.5 * math.sqrt(0.93 * 0.07 / TRIALS))  # the chance of less, at a coverage of 93%, is 1 in 4,000
MOST = 100 * (0.06 + 3.5 * math.sqrt(0.06 * 0.94 / TRIALS))  # and the chance of more, at 6%
SHARE, CHRF = METRICS["accuracy"], METRICS["chrf"]


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


def test_rare_rows_leave_few_degrees_of_freedom() -> None:
    score = METRICS["rouge_l"].score
    rng = np.random.default_rng(0)
    normal = np.stack([0.5 + 0.01 * rng.normal(size=400), np.ones(400)], 1)
    rare = np.stack([np.arange(400) < 4, np.ones(400)], 1)
    assert 300 < freedom(score, normal) <= 399 and freedom(score, rare) == pytest.approx(8.2, abs=0.2)
    assert freedom(score, normal * 0 + 1) == 399


def yes_no(won: int, lost: int, both: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    first = [1.0] * (won + both) + [0.0] * (lost + neither)
    second = [0.0] * won + [1.0] * (both + lost) + [0.0] * neither
    return np.stack([first, np.ones(len(first))], 1), np.stack([second, np.ones(len(second))], 1)


@pytest.mark.parametrize("pair", score_shapes.pairs(), ids=lambda pair: pair.name)
@pytest.mark.parametrize("rows", [20, 100])
def test_equal_models_are_seldom_called_different(pair: Pair, rows: int) -> None:
    rng = np.random.default_rng(rows)
    held = wrong = 0
    for _ in range(TRIALS):
        first, second = pair.draw(rng, rows)
        low, high, _ = difference_interval(first, second, pair.metric)
        held += low <= 0 <= high
        if not low <= 0 <= high:  # else the verdict is "unknown" already
            found = compare(first, second, pair.metric)
            wrong += verdicts.verdict(pair.metric, found.value, 0.0, found, found.p) != verdicts.UNKNOWN
    assert 100 * held / TRIALS >= LEAST
    assert 100 * wrong / TRIALS <= MOST


def test_mcnemar_is_exact() -> None:
    found = compare(*yes_no(9, 3, 20, 8), SHARE)
    assert found.value == pytest.approx(15) and found.p == pytest.approx(0.1460, abs=1e-4)
    assert compare(*yes_no(10, 0, 5, 5), SHARE).p == pytest.approx(2 / 2**10)


def test_swapping_agrees_with_sacrebleus_own_test(monkeypatch: pytest.MonkeyPatch) -> None:
    from sacrebleu.metrics import CHRF as Library
    from sacrebleu.significance import PairedTest

    from slmstudio.core.evaluation.scores.ngrams import References

    monkeypatch.setenv("SACREBLEU_SEED", "7")
    rng = np.random.default_rng(4)
    texts = [[" ".join(rng.choice(score_shapes.WORDS, 8)) for _ in range(60)] for _ in range(2)]
    wanted = [f"{one} {other}" if i % 5 else one for i, (one, other) in enumerate(zip(*texts, strict=True))]
    test = PairedTest([("one", texts[0]), ("other", texts[1])], {"chrf": Library(word_order=2)}, [wanted],
                      test_type="ar", n_samples=2000)
    known = test()[1]["chrF2++"][1].p_value
    rows = [np.array([References([w]).chrf(t) for w, t in zip(wanted, each, strict=True)], float) for each in texts]
    assert by_swapping(rows[0], rows[1], CHRF.score) == pytest.approx(known, abs=0.04)
    assert known < 0.9


def test_tangos_interval_holds_what_the_score_test_does_not_refuse() -> None:
    low, high = tango(7, 1, 44)
    refuse = [d for d in np.linspace(-0.3, 0.5, 81) if not low <= d <= high]
    kept = [d for d in np.linspace(-0.3, 0.5, 81) if low <= d <= high]
    assert low < 6 / 44 < high and len(kept) > 10
    assert all(_score(7, 1, 44, d) ** 2 < 1.959964**2 for d in kept)
    assert all(_score(7, 1, 44, d) ** 2 > 1.959964**2 for d in refuse)
    assert tango(1, 7, 44) == pytest.approx((-high, -low))


def _score(won: int, lost: int, rows: int, difference: float) -> float:
    """The test itself, its nuisance found by trying all: the most likely shares that differ so far."""
    lost_share = np.linspace(max(0, -difference), (1 - difference) / 2, 200_001)[1:-1]
    won_share, rest = lost_share + difference, 1 - 2 * lost_share - difference
    with np.errstate(divide="ignore", invalid="ignore"):
        likely = won * np.log(won_share) + lost * np.log(lost_share) + (rows - won - lost) * np.log(rest)
    best = lost_share[np.nanargmax(likely)]
    return (won - lost - rows * difference) / math.sqrt(rows * (2 * best + difference - difference**2))


def test_rows_needed_find_the_difference_in_four_of_five_tries() -> None:
    needed = rows_needed(5.0, 20.0)
    assert needed == 126
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(300):
        moved = 0.5 + rng.normal(0.05, 0.2, needed)
        first = np.stack([moved, np.ones(needed)], 1)
        low, high, _ = difference_interval(first, np.full((needed, 2), [0.5, 1.0]), METRICS["rouge_l"])
        found += not low <= 0 <= high
    assert 70 < 100 * found / 300 < 90


def test_nothing_to_tell_apart() -> None:
    rows = np.array([[0.4, 1.0]] * 30)
    found = compare(rows, rows, METRICS["rouge_l"])
    assert (found.value, found.low, found.high, found.p, found.rows_needed) == (0, 0, 0, 1, None)
    one = compare(rows[:1], rows[:1] * 2, METRICS["rouge_l"])
    assert one.p == 1 and one.low == -math.inf and one.rows_needed is None
