"""Identifiers of people in India and elsewhere: where they are in a text, and the text with masks in their place.

What they look like is in `resources/health/identifiers.json`. A number says little by itself: one in ten numbers of an
order passes a checksum of one digit. So what comes before it decides too: after "order no." or "₹" nothing is taken for
a person's number. Indian phone numbers are found as people write them, those of other countries with a plus.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

from stdnum import luhn, verhoeff

from slmstudio.core.data.health.finding import KINDS, WORDS, filled_in, pattern
from slmstudio.core.paths import resources
from slmstudio.core.units import plain_digits

REACH = 48
"""Characters before a number in which a word says what it is."""
_LONG_NUMBER = pattern("long_number")
_ROLE = re.compile("|".join(f"(?P<{role}>{'|'.join(words)})" for role, words in WORDS["number_roles"].items()),
                   re.IGNORECASE)
_SENTENCE_END, _QUANTITY = pattern("sentence_end"), pattern("quantity")


class Identifier(NamedTuple):
    """An identifier in text[start:end]; `kind` as in `KINDS`."""

    start: int
    end: int
    kind: str


class Look(NamedTuple):
    """One way in which identifiers of a kind are written.

    Attributes:
        expression: finds what may be one.
        sign: what is in every one.
        valid: name of its checksum or check in `VALIDATORS`.
        digits: what its digits begin with and how many they are.
        unless, only_after: what the words before it mustn't and must make of it.
        is_long: whether it has ten digits or more.
    """

    kind: str
    expression: re.Pattern[str]
    sign: str = ""
    valid: str | None = None
    digits: re.Pattern[str] | None = None
    unless: str | None = None
    only_after: str | None = None
    is_long: bool = False

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Where they are. Long ones are sought near ten digits alone, which is much quicker than everywhere; none looks
        further than 8 characters past them."""
        places = ((each.start(), min(len(text), each.end() + 8)) for each in _LONG_NUMBER.finditer(text))
        for place in places if self.is_long else ((0, len(text)),):
            yield from (found.span() for found in self.expression.finditer(text, *place) if self._is_one(text, found))

    def _is_one(self, text: str, found: re.Match[str]) -> bool:
        written = found[0]
        # Nobody writes an amount with a leading zero or plus.
        if self.is_long and written[0] not in "0+(" and _QUANTITY.match(text, found.end()):
            return False
        if self.digits is not None and not self.digits.match(_digits(written)):
            return False
        if self.valid is not None and not VALIDATORS[self.valid](written):
            return False
        role = role_before(text, found.start()) if self.unless or self.only_after else None
        return (role is None or role != self.unless or "+" in written) and self.only_after in (None, role)


def _digits(written: str) -> str:
    return re.sub("[^0-9]", "", written)


def _is_phone(written: str) -> bool:
    import phonenumbers

    try:
        return bool(phonenumbers.is_valid_number(phonenumbers.parse(written, "IN")))
    except phonenumbers.NumberParseException:
        return False


VALIDATORS: dict[str, Callable[[str], bool]] = {
    "luhn": lambda written: bool(luhn.is_valid(_digits(written))),
    "luhn36": lambda written: bool(luhn.is_valid(written.upper(), "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ")),
    "verhoeff": lambda written: bool(verhoeff.is_valid(_digits(written))),
    "phone": _is_phone,
}


def role_before(text: str, start: int) -> str | None:
    """What the nearest word before text[start] in its sentence makes of a number: "phone", "pan", "aadhaar", "card",
    "epic" or "thing"; None if there is none."""
    role = None
    for role_word in _ROLE.finditer(_SENTENCE_END.split(text[max(0, start - REACH):start])[-1]):
        role = role_word.lastgroup
    return role


def _looks() -> Iterator[Look]:
    file = resources() / "health" / "identifiers.json"
    for each in json.loads(file.read_text(encoding="utf-8")):
        each.pop("about", None)
        for name in {"expression", "digits"} & each.keys():
            each[name] = re.compile(filled_in(each[name]))
        yield Look(**each)


LOOKS = tuple(_looks())
"""What one finds is hidden from those after it."""
IDENTIFIERS = tuple(kind for kind in KINDS if any(look.kind == kind for look in LOOKS))


@lru_cache(maxsize=16)
def identifiers(text: str) -> tuple[Identifier, ...]:
    """All identifiers in the text, from left to right. No two overlap: a GSTIN isn't a PAN as well."""
    left = plain_digits(text)
    found: list[Identifier] = []
    for look in LOOKS:
        spans = list(look.spans(left)) if look.sign in left else []
        letters = list(left) if spans else []
        for start, end in spans:
            found.append(Identifier(start, end, look.kind))
            letters[start:end] = "\x00" * (end - start)
        left = "".join(letters) or left
    return tuple(sorted(found))


def masked(text: str, kind: str) -> str:
    """The text with a mask in place of each identifier of this kind."""
    for start, end, its in reversed(identifiers(text)):
        if its == kind:
            text = text[:start] + KINDS[kind].mask + text[end:]
    return text
