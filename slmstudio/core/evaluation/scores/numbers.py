"""The number that an answer ends with, however it is written."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from slmstudio.core.units import plain_digits

MOST_DIGITS = 400
"""Longer rows of digits are noise that a model repeats, not numbers."""

_SPACES = "\u00a0\u2009\u202f"
_SIGN = r"(?<![\w.,)\]%])(?P<sign>[-+])[ ]?[$€£¥₹]?[ ]?|(?<![\w.,)\]%])[$€£¥₹][ ]?(?P<inner>[-+])"
_GROUPS = rf"\d{{1,3}}(?P<mark>[,'’{_SPACES}])(?:\d{{2,3}}(?P=mark))*\d{{3}}(?!\d)"
_DOTTED = r"\d{1,3}(?:\.\d{3}){2,}(?![\d.])"
_BEFORE_COMMA = r"[1-9]\d{0,2}(?:\.\d{3})+(?=,\d+(?![\d,]|\.\d))"
"""One point is a decimal one in "1.234", but parts thousands in "1.234,56"."""
_WHOLE = rf"(?:{_GROUPS}|{_DOTTED}|{_BEFORE_COMMA}|\d+)"
_NUMBER = re.compile(
    rf"(?:{_SIGN})?(?:(?P<whole>{_WHOLE})(?P<part>\.\d+|,\d+(?![\d,]))?(?:[eE](?P<power>[-+]?\d{{1,3}})(?!\w))?|"
    r"(?<![\w.])(?P<bare>\.\d+))"
    r"(?:[ ]?(?P<over>[/⁄])[ ]?(?P<under>(?!0+(?!\d))\d+)(?![\d/.,]\d|/))?(?P<percent>[ ]?%)?")
_MIXED = re.compile(r"(?P<whole>\d+)[ ]+$")


@dataclass(frozen=True)
class Number:
    """
    Attributes:
        value: exactly; of "45 %" it is 45.
        percent: whether a percent sign follows.
    """

    value: Fraction
    percent: bool = False

    def equals(self, other: Number) -> bool:
        """Whether both say the same. Where only one has a percent sign, 45 % is 45 and is 0.45 too."""
        if self.value == other.value:
            return True
        if self.percent == other.percent:
            return False
        share, plain = (self, other) if self.percent else (other, self)
        return share.value / 100 == plain.value


def numbers(text: str) -> list[Number]:
    """All numbers of a text, in their order.

    Understood are digits of every script; thousands separated by commas (also as lakh and crore: 12,34,567), points
    where there are two or more or a decimal comma follows (1.234,56), apostrophes or narrow spaces; a decimal point,
    or a comma that separates no thousands; a sign, also before or behind a currency; 1.5e3; 3/4, 1 1/2 and ½; percent.
    "10-5" and "3–5" hold no negative one.

    >>> [float(each.value) for each in numbers("१२,३४,५६७ and -₹1,234.50, then 3/4, 1½ or 1.5e3; 3,14")]
    [1234567.0, -1234.5, 0.75, 1.5, 1500.0, 3.14]
    """
    text = _flat(text)
    found: list[Number] = []
    end = 0
    for match in _NUMBER.finditer(text):
        number = _read(match)
        if number is None:
            end = match.end()
            continue
        if match["over"] and not match["sign"] and match.start() and end == match.start() - 1 and found:
            # "1 1/2": the whole number is just before the fraction.
            before = _MIXED.search(text, 0, match.start())
            if before and found[-1].value.denominator == 1 and abs(number.value) < 1 and not found[-1].percent:
                whole = found.pop().value
                number = Number(whole - number.value if whole < 0 else whole + number.value, number.percent)
        found.append(number)
        end = match.end()
    return found


def last_number(text: str) -> Number | None:
    """The number after the last "####", GSM8K's mark of the result, where there is one; otherwise the last of the
    text."""
    marked = text.rpartition("####")
    if marked[1] and (found := numbers(marked[2])):
        return found[0]
    found = numbers(text)
    return found[-1] if found else None


def same_number(answer: str, references: Sequence[str]) -> bool:
    """Whether the answer's last number is that of one of the references.

    >>> same_number("So she makes $18 a day.", ["9 * 2 = 18\\n#### 18"]), same_number("18", ["#### 19"])
    (True, False)
    """
    given = last_number(answer)
    return given is not None and any(
        (wanted := last_number(each)) is not None and given.equals(wanted) for each in references)


def _read(match: re.Match[str]) -> Number | None:
    """The value of a match of `_NUMBER`, or None if it is too long to be meant."""
    if len(match[0]) > MOST_DIGITS:
        return None
    if match["bare"]:
        value = Fraction("0" + match["bare"])
    else:
        whole = re.sub(r"\D", "", match["whole"])
        value = Fraction(whole + (match["part"] or "").replace(",", "."))
    if match["power"]:
        value *= Fraction(10) ** int(match["power"])
    if match["over"] and (under := int(match["under"])):
        value /= under
    if "-" in (match["sign"], match["inner"]):
        value = -value
    return Number(value, bool(match["percent"]))


def _flat(text: str) -> str:
    """ASCII digits and signs; single-character fractions, such as ½, separated from a number before them."""
    if text.isascii():
        return text
    text = text.translate(_vulgar())
    kept = "".join(each if each in _SPACES else unicodedata.normalize("NFKC", each) for each in text)
    return plain_digits(kept).replace("−", "-")


@functools.cache
def _vulgar() -> dict[int, str]:
    every = (*range(0xBC, 0xBF), *range(0x2150, 0x215F), 0x2189)
    return {code: " " + unicodedata.normalize("NFKC", chr(code)) for code in every}
