"""Tokens of a row: as the model's own tokenizer counts them, else from bytes and script."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from slmstudio.core.data.record import Record
from slmstudio.core.model.facts import read_model
from slmstudio.core.model.token_guess import PER_MESSAGE, tokens_per_row
from slmstudio.core.model.tokens import load_tokenizer

ENGLISH, HINDI = "The refund takes five working days. " * 5, "रिफंड में पाँच कार्यदिवस लगते हैं। " * 5


def rows(text: str) -> list[Record]:
    return [Record([{"role": "user", "content": "a"}, {"role": "assistant", "content": text}], 1)]


@pytest.mark.parametrize(("text", "languages", "vocabulary", "bytes_of_token"), [
    (ENGLISH, (), 49_152, 4.4), (ENGLISH, (), 262_144, 4.4), (HINDI, (), 49_152, 2.0), (HINDI, ("en",), 151_936, 4.0),
    (HINDI, (), 262_144, 9.0), (HINDI, ("hi", "en"), 68_000, 9.0)])
def test_a_row_has_as_many_tokens_as_its_bytes_and_their_script_say(tiny_model, text, languages, vocabulary,
                                                                    bytes_of_token):
    facts = dataclasses.replace(read_model(tiny_model), path=Path("gone"), vocabulary_size=vocabulary)
    found = tokens_per_row(rows(text), languages, facts) - 2 * PER_MESSAGE
    spaces = text.count(" ")  # blanks are of no script
    assert found == pytest.approx((len(text.encode()) - spaces) / bytes_of_token + spaces / 4.4, rel=0.05)


def test_a_model_on_the_disk_counts_them_itself(tiny_model):
    counted = len(load_tokenizer(tiny_model).encode(HINDI, add_special_tokens=False).ids)
    one = len(load_tokenizer(tiny_model).encode("a", add_special_tokens=False).ids)
    assert tokens_per_row(rows(HINDI), (), read_model(tiny_model)) == counted + one + 2 * PER_MESSAGE
    assert tokens_per_row([], (), read_model(tiny_model)) == 0
