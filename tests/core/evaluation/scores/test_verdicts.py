"""Sentences say what the rows can carry."""

from __future__ import annotations

import math

import pytest

from slmstudio.core.evaluation.scores.metrics import METRICS, Metric
from slmstudio.core.evaluation.scores.statistics import Difference
from slmstudio.core.evaluation.scores.verdicts import (
    Pair,
    holm,
    knowledge_sentence,
    p_text,
    rounded_up,
    score_text,
    verdict,
)

CHRF, LOSS, ACCURACY = METRICS["chrf"], METRICS["loss"], METRICS["accuracy"]


@pytest.mark.parametrize(("metric", "of", "with_", "found", "tests", "said"), [
    (CHRF, 52.4, 21.3, Difference(31.1, 27.9, 34.2, 0.0001, 100, 4), 1,
     "Better: 52.4 against 21.3 chrF++ (difference 31.1, 27.9 to 34.2), p < 0.001."),
    (LOSS, 1.473, 1.982, Difference(-0.509, -0.562, -0.457, 0.0001, 188, 4), 1,
     "Better: 1.473 against 1.982 nats per token (difference −0.509, −0.562 to −0.457), p < 0.001."),
    (LOSS, 1.982, 1.473, Difference(0.509, 0.457, 0.562, 0.0001, 188, 4), 1,
     "Worse: 1.982 against 1.473 nats per token (difference 0.509, 0.457 to 0.562), p < 0.001."),
    (ACCURACY, 52.0, 50.0, Difference(2.0, -1.5, 5.5, 0.27, 40, 183), 1,
     "40 rows aren't enough to show a difference; about 190 would be. 52.0 against 50.0 percent accuracy, p = 0.27."),
    (ACCURACY, 50.0, 50.0, Difference(0.0, -1.5, 1.5, 1.0, 1, None), 1,
     "1 row isn't enough to show a difference. 50.0 against 50.0 percent accuracy, p = 1."),
    (METRICS["bleu"], 2.0, 1.0, Difference(1.0, -0.593, 2.597, 0.0001, 100, 510), 1,
     "100 rows aren't enough to show a difference; about 510 would be. 2.0 against 1.0 BLEU, p < 0.001, "
     "but the difference may be anything from −0.6 to 2.6."),
    (CHRF, 52, 50, Difference(2.0, 0.5, 3.5, 0.03, 40, 30), 3, "p = 0.03 (corrected for 3 comparisons)."),
    (CHRF, 52, 50, Difference(2.0, -math.inf, math.inf, 0.04, 1, None), 1,
     "but the difference may be anything from unknown to unknown."),
], ids=["better", "less loss", "more loss", "open", "one row", "test and interval disagree", "several", "no interval"])
def test_a_sentence_says_what_the_rows_can_carry(metric: Metric, of: float, with_: float, found: Difference, tests: int,
                                                 said: str) -> None:
    assert Pair(metric, 1, of, with_, found, "", 0).to_dict(found.p, tests)["sentence"].endswith(said)


@pytest.mark.parametrize("found", [
    Difference(2.0, 0.1, 3.9, 0.06, 40, 80),  # the test doesn't say so
    Difference(2.0, -0.1, 4.1, 0.04, 40, 80),  # the interval doesn't
    Difference(0.01, 0.005, 0.015, 0.0001, 40, 20),  # nobody can see it
])
def test_no_verdict_where_anything_speaks_against_it(found: Difference) -> None:
    assert verdict(CHRF, 50.0 + found.value, 50.0, found, found.p) == "unknown"


def test_a_benchmark_claims_no_more_than_its_questions_show() -> None:
    def said(value: float, half: float | None, rows: int = 400) -> str:
        low, high = (None, None) if half is None else (value - half, value + half)
        return knowledge_sentence("MMLU", {"difference": value, "low": low, "high": high, "rows": rows})

    assert said(-0.7, 1.1) == "General knowledge kept: MMLU −0.7 ± 1.1."
    assert said(-5.2, 1.1) == "General knowledge lost: MMLU −5.2 ± 1.1."
    assert said(3.0, 1.0) == "General knowledge gained: MMLU +3.0 ± 1.0."
    assert said(-0.7, 9.0, 40) == "40 questions aren't enough to show a change: MMLU −0.7 ± 9.0."
    assert said(0.0, None, 1) == "One question of MMLU isn't enough to say anything."


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([]) == []


def test_figures() -> None:
    assert [p_text(p) for p in (0.00099, 0.001, 0.0499, 0.5, 1.0)] == [
        "p < 0.001", "p = 0.001", "p = 0.0499", "p = 0.5", "p = 1"]
    assert score_text("chrf", -0.04) == "0.0" and score_text("chrf", -1.26) == "−1.3"
    assert score_text("loss", math.inf) == score_text("loss", None) == "unknown"
    assert [rounded_up(n) for n in (3, 99, 100, 101, 1_000_000)] == [3, 99, 100, 110, 1_000_000]
