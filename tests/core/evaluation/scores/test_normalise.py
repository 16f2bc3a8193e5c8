"""Same words in another form are the same."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slmstudio.core.evaluation.scores.matching import normalised, same_text, same_words, words
from slmstudio.core.units import plain_digits


@pytest.mark.parametrize(("one", "other"), [
    ("दिल्ली।", "दिल्ली"),
    ("क्\u200dष", "क्ष"),  # a zero-width joiner changes the shape, not the word
    ("\u0958\u0932\u092e", "\u0915\u093c\u0932\u092e"),  # the nukta as one letter or two
    ("१२ मई २०१६", "12 मई 2016"),
    ("௧௨", "12"),
    ("12,34,567", "1,234,567"),
    ("The  Answer:\n“Paris”!", "the answer paris"),
    ("ＡＢＣ ﬁne", "abc fine"),
    ("STRASSE", "straße"),
    ("it’s", "its"),
    ("twenty-one", "twenty one"),
    ("soft\u00adware", "software"),
    ("−5", "-5"), ("in “C#”.", "In C#"), ("Answer #1", "answer 1"), ("#done", "done"), ("a#b", "a b"),
])
def test_what_people_read_as_the_same_is_the_same(one: str, other: str) -> None:
    assert normalised(one) == normalised(other) != ""


@pytest.mark.parametrize(("one", "other"), [
    ("3.5", "35"), ("-5", "5"), ("50%", "50"), ("₹5", "$5"), ("की", "का"), ("दिल्ली", "दिल"), ("1,2", "12"),
    ("कल", "क़ल"), ("C#", "C"), ("C＃.", "C"), ("C++", "C"), ("F#", "F"),
])
def test_what_differs_in_meaning_stays_different(one: str, other: str) -> None:
    assert normalised(one) != normalised(other)


@given(st.text() | st.text("0123456789,.-−' a%/_½#+"))
def test_normalising_twice_changes_nothing_more(text: str) -> None:
    once = normalised(text)
    assert normalised(once) == once
    assert once == once.strip() and "  " not in once


@pytest.mark.parametrize(("answer", "reference", "same"), [
    (";", ";", True), (" ;\n", ";", True), (",", ";", False), ("", ";", False), ("", "", True), ("।", "॥", False),
    (";", "semicolon", False), ("", "C", False),
])
def test_signs_alone_are_held_against_the_signs(answer: str, reference: str, same: bool) -> None:
    assert same_words(answer, {reference: normalised(reference)}) is same


def test_every_digit_of_unicode_counts() -> None:
    every = [chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) == "Nd"]
    assert len(every) > 500
    assert all(plain_digits(each) == str(unicodedata.decimal(each)) for each in every)


def test_word_for_word_forgives_the_ends_and_composition_alone() -> None:
    assert same_text(" caf\u00e9\n", "cafe\u0301")
    assert not same_text("Café", "café")


def test_words_keep_combining_marks_and_part_scripts_without_spaces() -> None:
    assert words("क्या हिन्दी ठीक है? தமிழ் ঠিক") == ["क्या", "हिन्दी", "ठीक", "है", "தமிழ்", "ঠিক"]
    assert words("東京へ行く2回") == ["東", "京", "へ", "行", "く", "2", "回"]
    assert words("ที่นี่") == ["ที่", "นี่"]
    assert words("...") == []
