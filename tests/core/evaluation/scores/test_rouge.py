"""ROUGE-L: the known package's on English, and something of worth on every other script."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from slmstudio.core.evaluation.scores.matching import words
from slmstudio.core.evaluation.scores.ngrams import common_length, rouge_l_of_words

WORDS = st.lists(st.sampled_from("abcde"), max_size=25)


def slow_common_length(first: list[str], second: list[str]) -> int:
    """As in every textbook."""
    row = [0] * (len(second) + 1)
    for one in first:
        above = row[:]
        for j, other in enumerate(second):
            row[j + 1] = above[j] + 1 if one == other else max(above[j + 1], row[j])
    return row[-1]


def rouge_l(answer: str, references: list[str]) -> float:
    return rouge_l_of_words(words(answer), list(map(words, references)))


@given(WORDS, WORDS)
def test_the_fast_subsequence_is_the_textbook_one(first: list[str], second: list[str]) -> None:
    assert common_length(first, second) == slow_common_length(first, second)


@given(st.lists(st.sampled_from(["the", "Cat", "sat", "on", "mat.", "42", "now,"]), min_size=1, max_size=15),
       st.lists(st.sampled_from(["the", "cat", "sat", "under", "mat", "42"]), min_size=1, max_size=15))
def test_english_equals_rouge_score(answer: list[str], reference: list[str]) -> None:
    wanted = RougeScorer(["rougeL"]).score(" ".join(reference), " ".join(answer))["rougeL"].fmeasure
    assert rouge_l(" ".join(answer), [" ".join(reference)]) == pytest.approx(wanted)


def test_hindi_counts() -> None:
    assert rouge_l("राम घर गया।", ["राम अपने घर गया"]) == pytest.approx(2 * 3 / 7)
    assert rouge_l("राम घर गया", ["कुछ और", "राम घर गया।"]) == 1
    assert rouge_l("", ["राम"]) == rouge_l("राम", ["।"]) == 0
