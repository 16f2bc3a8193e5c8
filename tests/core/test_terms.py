"""The glossary has the words that the window uses without explaining them there."""

from __future__ import annotations

import pytest

from slmstudio.core import terms

SHOWN = ("activations", "bf16", "logits", "near_tie", "nmse", "safetensors", "seed", "sft")


@pytest.mark.parametrize("key", SHOWN)
def test_a_word_of_the_window_is_explained(key: str) -> None:
    assert terms.name(key) and all(sentence.endswith(".") for sentence in terms.sentences(key))
