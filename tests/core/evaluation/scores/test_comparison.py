"""Paired tests call equal models different in at most one of 20 cases, and find differences that are there."""

from __future__ import annotations

import math

import numpy as np
import pytest
from support import score_shapes
from support.score_shapes import Pair

from slmstudio.core.evaluation.scores import verdicts
from slmstudio.core.evaluation.scores.metrics import METRICS
from slmstudio.core.evaluation.scores.statistics import by_swapping, compare, difference_interval, rows_needed, tango

TRIALS = 300
MOST = 100 * (0.06 + 3.5 * math.sqrt(0.06 * 0.94 / TRIALS))  # the chance of more, at 6%, is 1 in 4,000
LEAST = 100 * (0.93 - 3.5 * math.sqrt(0.93 * 0.07 / TRIALS))
SHARE, CHRF = METRICS["accuracy"], METRICS["chrf"]


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


def test_unpaired_rows_would_be_told_apart_by_no_test_with_so_few() -> None:
    """What pairing gives: 40 rows, each a little better, in a sea of easy and hard ones."""
    rng = np.random.default_rng(0)
    base = rng.beta(1, 1, 40) * 0.9
    first = np.stack([base + rng.uniform(0.01, 0.06, 40), np.ones(40)], 1)
    found = compare(first, np.stack([base, np.ones(40)], 1), METRICS["rouge_l"])
    assert found.p < 0.001 and 0 < found.low < found.value < found.high < 10


def test_mcnemar_is_exact() -> None:
    found = compare(*yes_no(9, 3, 20, 8), SHARE)
    assert found.value == pytest.approx(15) and found.p == pytest.approx(0.1460, abs=1e-4)
    assert compare(*yes_no(10, 0, 5, 5), SHARE).p == pytest.approx(2 / 2**10)


def test_swapping_agrees_with_the_exact_test_on_yes_or_no_rows() -> None:
    for cells in ((9, 3, 20, 8), (12, 2, 30, 6), (5, 5, 5, 5)):
        first, second = yes_no(*cells)
        assert by_swapping(first, second, SHARE.score) == pytest.approx(compare(first, second, SHARE).p, abs=0.015)


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


def test_one_hundred_thousand_rows_take_moments() -> None:
    rng = np.random.default_rng(0)
    first, second = (np.stack([rng.beta(2, 3, 100_000) + up, np.ones(100_000)], 1) for up in (0.01, 0.0))
    found = compare(first, second, METRICS["rouge_l"])
    assert found.p < 0.001 and found.low < 1.0 < found.high
