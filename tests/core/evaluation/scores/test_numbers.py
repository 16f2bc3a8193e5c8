"""The number that an answer ends with."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from slmstudio.core.evaluation.scores.matching import last_number, numbers, same_number


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
