"""What one answer adds to each score."""

from __future__ import annotations

import math
from typing import Any

import pytest

from slmstudio.core.evaluation.scores.metrics import METRICS, main_metric, row_counts, row_values


def values(item: dict[str, Any], answer: dict[str, Any] | None) -> dict[str, float]:
    return dict(row_values(row_counts(item, [answer])[0]))


FREE = {"kind": "free", "references": ["दिल्ली", "नई दिल्ली"]}
CHOICE = {"kind": "choice", "choices": ["a", "a long choice", "ष"], "answer": 1, "references": ["a long choice"]}


def test_a_free_answer_is_held_against_the_best_reference() -> None:
    found = values(FREE, {"answer": "नई दिल्ली"})
    assert found["exact"] == found["normalised"] == found["rouge_l"] == 100
    assert found["chrf"] == pytest.approx(100)
    assert values(FREE, {"answer": "नई दिल्ली।"}).items() >= {"exact": 0.0, "normalised": 100.0}.items()


def test_choices_are_judged_by_likelihood_and_by_likelihood_a_character() -> None:
    found = values(CHOICE, {"answer": "", "choice_logprobs": [-3.0, -13.0, -2.0]})
    assert found["accuracy"] == 0 and found["accuracy_norm"] == 100
    # Of equals the first counts, as in numpy and so in lm_eval; lengths are characters, not bytes, as there.
    assert values(CHOICE | {"answer": 0}, {"choice_logprobs": [-2.0, -9.0, -2.0]})["accuracy"] == 100
    assert values(CHOICE | {"answer": 0}, {"choice_logprobs": [-2.0, -99.0, -2.1]})["accuracy_norm"] == 100
    assert values(CHOICE | {"answer": 2}, {"choice_logprobs": [-2.0, -99.0, -1.9]})["accuracy_norm"] == 100


def test_loss_is_nats_by_tokens_over_all_references() -> None:
    found = values(FREE, {"answer": "x", "reference_nats": [3.0, 6.0], "reference_tokens": [2, 4]})
    assert found["loss"] == pytest.approx(1.5) and found["perplexity"] == pytest.approx(math.exp(1.5))


def test_numbers_patterns_and_words() -> None:
    assert values({"kind": "number", "references": ["#### 18"]}, {"answer": "so $18."}) == {"numeric": 100.0}
    assert values({"kind": "pattern", "pattern": r"^\d+ \p{Devanagari}+"}, {"answer": "12 रुपये"}) == {"pattern": 100.0}
    assert values({"kind": "pattern", "pattern": r"(a+)+$"}, {"answer": "a" * 60 + "b"}) == {"pattern": 0.0}
    words = values({"kind": "exact", "references": ["Yes"]}, {"answer": "yes."})
    assert words["exact"] == 0 and words["normalised"] == 100
    for answer in (",", "", "C"):
        assert values({"kind": "exact", "references": [";", "C#"]}, {"answer": answer})["normalised"] == 0
    sign = values({"kind": "exact", "references": [";"]}, {"answer": ";"})
    assert sign["exact"] == sign["normalised"] == 100


@pytest.mark.parametrize("answer", [
    None, {}, {"skipped": "Too long.", "answer": "x"}, {"answer": None}, {"answer": 5}, {"reference_nats": None},
    {"reference_nats": [None], "reference_tokens": [3]}, {"reference_nats": [2.0], "reference_tokens": [0]},
    {"reference_nats": [math.nan], "reference_tokens": [3]}, {"choice_logprobs": [-1.0]},
    {"choice_logprobs": [None, -1.0, -2.0]},
])
@pytest.mark.parametrize("item", [FREE, CHOICE, {"kind": "number"}, {"kind": "pattern"}, {"kind": "new"}, {}])
def test_what_is_missing_is_left_out(item: dict[str, Any], answer: dict[str, Any] | None) -> None:
    assert values(item, answer) == {}


def test_the_metric_to_judge_by_is_that_of_the_most_rows() -> None:
    every = dict.fromkeys(METRICS)
    assert main_metric(every, ["free"]) == "chrf" and main_metric(every, ["choice", "free"]) == "accuracy"
    assert main_metric({"loss": 1}, ["free"]) == "loss" and main_metric({}) is None
