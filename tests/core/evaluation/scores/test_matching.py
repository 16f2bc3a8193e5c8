"""Same words in another form are the same, and so are the numbers that answers end with."""

from __future__ import annotations

import json
import sys
import unicodedata
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from slmstudio.core.evaluation.scores.matching import (
    last_number,
    normalised,
    numbers,
    same_number,
    same_text,
    same_words,
    words,
)
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


@pytest.mark.parametrize(("text", "value"), [
    ("She makes $18 a day.", 18), ("12,34,567.50", "1234567.5"), ("1,234,567", 1234567), ("1.234.567", 1234567),
    ("1'234", 1234), ("1\u202f234\u202f567", 1234567), ("१२,३४५ रुपये।", 12345), ("٤٫٥", "4.5"), ("１２", 12),
    ("x = -5", -5), ("−7", -7), ("-$5", -5), ("$-5", -5), ("₹ -5", -5), ("10-5", 5), ("3–5", 5), ("(-5)", -5),
    ("3/4", "3/4"), ("1 1/2 cups", "3/2"), ("1½", "3/2"), ("½", "1/2"), ("-1/2", "-1/2"), ("९/१०", "9/10"),
    ("1.234,56", "1234.56"), ("-1.234.567,5 €", "-1234567.5"), ("1.234,56.", "1234.56"), ("1.234", "1.234"),
    ("0.125,5", 5), ("3,14", "3.14"), ("1, 2", 2), (".5", "1/2"), ("0.5.", "1/2"), ("Rs.500", 500),
    ("1.5e3", 1500), ("5/0", 0),
    ("It is 7.\n#### 42 apples of 50", 42), ("#### nothing, so 3", 3), ("3:30", 30),
])
def test_numbers_as_people_write_them(text: str, value: object) -> None:
    found = last_number(text)
    assert found is not None and found.value == Fraction(str(value))


@pytest.mark.parametrize("text", ["", "none", "पता नहीं", "....", "####"])
def test_no_number_is_none(text: str) -> None:
    assert last_number(text) is None and not same_number(text, ["#### 5"])


def test_a_decimal_comma_behind_points_makes_one_number() -> None:
    assert not same_number("1.234,56", ["#### 9.999,56"])
    assert [each.value for each in numbers("1.234,56; 1.234, 56")] == [Fraction("1234.56"), Fraction("1.234"), 56]


def test_percent_is_what_the_other_side_says() -> None:
    assert same_number("45%", ["#### 45"]) and same_number("45 %", ["#### 0.45"]) and same_number("0.45", ["45%"])
    assert not same_number("45%", ["0.45%"])


def test_any_of_several_references_will_do() -> None:
    assert same_number("so 7", ["#### 8", "#### 7"]) and not same_number("so 7", [])


@given(st.integers(-10**12, 10**12))
def test_whole_numbers_are_read_back_in_every_grouping(value: int) -> None:
    lakh = f"{abs(value):,}"
    assert last_number(f"is {value:,}.") == last_number(f"is {value}") != None  # noqa: E711
    digits = lakh.replace(",", "")
    if len(digits) > 3:
        head, tail = digits[:-3], digits[-3:]
        pairs = [head[max(0, end - 2) : end] for end in range(len(head), 0, -2)][::-1]
        assert last_number(",".join([*pairs, tail])).value == abs(value)  # type: ignore[union-attr]


@example("0/01/")
@given(st.text("0123456789.,/-−%eE+ ½१९#$", max_size=60))
def test_no_text_breaks_it(text: str) -> None:
    assert len(numbers(text)) <= len(text)


def test_a_model_that_repeats_a_digit_for_ever_is_no_number() -> None:
    assert last_number("9" * 100_000) is None


def test_every_reference_of_gsm8k_is_read(data_dir) -> None:
    rows = [json.loads(line)["answer"] for line in (data_dir / "gsm8k_test.jsonl").read_text("utf-8").splitlines()]
    for row in rows:
        assert last_number(row).value == Fraction(row.split("####")[1].strip().replace(",", ""))  # type: ignore
