"""The glossary has the words that the window uses without explaining them there."""

from __future__ import annotations

import pytest

from slmstudio.core import terms
from slmstudio.core.evaluation.scores.metrics import METRICS

SHOWN = ("activations", "bf16", "logits", "near_tie", "nmse", "safetensors", "seed", "sft")


@pytest.mark.parametrize("key", SHOWN)
def test_a_word_of_the_window_is_explained(key: str) -> None:
    assert terms.name(key) and all(sentence.endswith(".") for sentence in terms.sentences(key))


def test_each_term_has_two_sentences_and_each_score_a_meaning():
    for key, term in terms.TERMS.items():
        assert all(part.endswith(".") and len(part) < 160 for part in (term.what, term.so)), key
    assert [metric for metric in METRICS if terms.of_metric(metric) not in terms.TERMS] == []
