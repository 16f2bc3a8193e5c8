"""Identifiers of people in India and elsewhere: where they are in a text, and the text with masks in their place.

A number says little by itself: one in ten numbers of an order passes a checksum of one digit. So what comes before it
decides too: after "order no." or "₹" nothing is taken for a person's number, after "phone" or "आधार" it is. Indian
phone numbers are found as people write them, those of other countries with a plus.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial
from typing import NamedTuple

from slmstudio.core.data.health.kinds import KINDS, WORDS, pattern
from slmstudio.core.units import plain_digits

PREFIX = "personal_"
REACH = 48
"""Characters before a number in which a word says what it is."""
NEWER_STATES = ("38", "97", "99")
"""Ladakh, other territory, centre: state codes that stdnum doesn't know."""
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_SEVEN_DIGITS, _INSIDE_PAN = pattern("seven_digits"), pattern("inside_pan")
"""These begin with a digit and nothing else, so that a text is searched quickly."""
_LONG_NUMBER = pattern("long_number")
_ROLE = re.compile("|".join(f"(?P<{role}>{'|'.join(words)})" for role, words in WORDS["number_roles"].items()),
                   re.IGNORECASE)
_SENTENCE_END, _ABBREVIATION = pattern("sentence_end"), pattern("abbreviation")
_PHONES = _MOBILE, _LANDLINE, _ABROAD = pattern("mobile"), pattern("landline"), pattern("abroad")
_PART_OF_MORE, _QUANTITY = pattern("part_of_more"), pattern("quantity")
_ROUND = pattern("round")
"""Rounded figures, and what is subtracted from them ("80000-20000")."""
_ORDERS = frozenset(WORDS["series"])
"""How numbers of orders, invoices and the like begin."""
_ISSUERS = [(re.compile(begin), lengths) for begin, lengths in WORDS["card_issuers"]]
"""Visa, Mastercard, American Express, Discover, RuPay, Diners Club, JCB, UnionPay, Maestro: how their numbers begin
and how long they are, https://en.wikipedia.org/wiki/Payment_card_number."""


class Identifier(NamedTuple):
    """An identifier in text[start:end]; `kind` as in `KINDS`."""

    start: int
    end: int
    kind: str


def may_be_personal(text: str) -> bool:
    """Whether `identifiers` has to look at a text with ASCII digits; quickly says no for nearly all texts without
    any."""
    return "@" in text or _SEVEN_DIGITS.search(text) is not None or _INSIDE_PAN.search(text) is not None


def with_ascii_digits(text: str) -> str:
    """The text, of the same length, with the digits 0 to 9 for those of all scripts ("२३" → "23")."""
    return text if text.isascii() or foreign_digits().isdisjoint(text) else plain_digits(text)


@lru_cache(maxsize=1)
def foreign_digits() -> frozenset[str]:
    """Digits of all scripts but 0 to 9."""
    return frozenset(chr(code) for code in range(0x80, 0x20000) if chr(code).isdecimal())


@lru_cache(maxsize=16)
def identifiers(text: str) -> tuple[Identifier, ...]:
    """All identifiers in the text, from left to right. No two overlap: a GSTIN isn't a PAN as well."""
    left = with_ascii_digits(text)
    if not may_be_personal(left):
        return ()
    found: list[Identifier] = []
    for name, finder in FINDERS.items():
        if spans := list(finder(left)):
            found.extend(Identifier(start, end, PREFIX + name) for start, end in spans)
            left = _replaced(left, ((start, end, "\x00" * (end - start)) for start, end in spans))
    return tuple(sorted(found))


def _replaced(text: str, pieces: Iterable[tuple[int, int, str]]) -> str:
    """The text with each text[start:end] replaced; from left to right."""
    parts, place = [], 0
    for start, end, new in pieces:
        parts += [text[place:start], new]
        place = end
    return "".join((*parts, text[place:]))


def example(text: str, kind: str) -> str | None:
    """The first identifier of this kind with its middle hidden: a report isn't the place for it."""
    for each in identifiers(text):
        if each.kind == kind:
            whole = text[each.start:each.end]
            return whole[:2] + "•" * max(1, len(whole) - 4) + whole[-2:]
    return None


def masked(text: str, kind: str) -> str:
    """The text with a mask in place of each identifier of this kind."""
    for _ in range(10):
        places = [each for each in identifiers(text) if each.kind == kind]
        if not places:
            break
        text = _replaced(text, ((each.start, each.end, KINDS[kind].mask) for each in places))
    return text


def role_before(text: str, start: int) -> str | None:
    """What the nearest word before text[start] in its sentence makes of a number: "phone", "aadhaar", "card", "epic" or
    "thing"; None if there is none."""
    before = text[max(0, start - REACH):start]
    for end in reversed(list(_SENTENCE_END.finditer(before))):
        if not _ABBREVIATION.search(before[:end.end()]):
            before = before[end.end():]
            break
    role = None
    for found in _ROLE.finditer(before):
        role = found.lastgroup
    return role


# -- each kind of number ---------------------------------------------------------------------------------------


def _is_gstin(_text: str, found: re.Match[str]) -> bool:
    from stdnum import luhn
    from stdnum.in_ import gstin, pan

    number = found[0].upper()
    newer = number[:2] in NEWER_STATES and pan.is_valid(number[2:12]) and luhn.is_valid(number, _ALPHABET)
    return newer or bool(gstin.is_valid(number))


def _is_pan(text: str, found: re.Match[str]) -> bool:
    from stdnum.in_ import pan

    # In lower case, names of users look like this.
    meant = found[0].isupper() or "pan" in text[max(0, found.start() - 30):found.start()].lower()
    return meant and pan.is_valid(found[0]) and role_before(text, found.start()) != "thing"


def _is_epic(text: str, found: re.Match[str]) -> bool:
    from stdnum.in_ import epic

    role = role_before(text, found.start())
    return epic.is_valid(found[0]) and (role == "epic" or (role != "thing" and found[0][:3] not in _ORDERS))


def _is_card(text: str, found: re.Match[str]) -> bool:
    from stdnum import luhn

    digits = re.sub("[^0-9]", "", found[0])
    issued = any(issuer.match(digits) and len(digits) in lengths for issuer, lengths in _ISSUERS)
    return (issued and len(set(digits)) > 1 and luhn.is_valid(digits)
            and role_before(text, found.start()) != "thing")


def _is_aadhaar(text: str, found: re.Match[str]) -> bool:
    from stdnum.in_ import aadhaar

    digits = re.sub("[^0-9]", "", found[0])
    role = role_before(text, found.start())
    is_mobile = role == "phone" and re.match("91[6-9]", digits)
    return not is_mobile and aadhaar.is_valid(digits) and role != "thing"


def _phones(text: str) -> Iterator[tuple[int, int]]:
    found = [match for each in _PHONES for match in _in_numbers(each, text)]
    taken = 0
    for match in sorted(found, key=lambda match: (match.start(), -match.end())):
        if match.start() >= taken and _is_phone(text, match):
            taken = match.end()
            yield match.span()


def _is_phone(text: str, match: re.Match[str]) -> bool:
    import phonenumbers

    start, end = match.span()
    written = match[0]
    role = role_before(text, start)
    if (role == "thing" and "+" not in written) or _ROUND.search(written):
        return False
    # Nobody writes an amount with a leading zero or plus.
    if written[0] not in "0+(" and _QUANTITY.match(text, end):
        return False
    # "Mob-98…" is one, "ORD-98…" isn't.
    if text[start - 1:start] == "-" and role != "phone":
        return False
    if match.re is _MOBILE:
        # phonenumbers knows only the ranges in use when it was made; all that begin with 6 to 9 are mobile numbers.
        return match[1].isdecimal() or not _PART_OF_MORE.search(text, max(0, start - 2), start)
    try:
        return bool(phonenumbers.is_valid_number(phonenumbers.parse(written, "IN")))
    except phonenumbers.NumberParseException:
        return False


def _in_numbers(expression: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    """What an expression finds where ten digits or more are near each other: much quicker than everywhere.

    It must begin with a digit, a plus or a bracket, and look no further than 8 characters past the number.
    """
    for number in _LONG_NUMBER.finditer(text):
        yield from expression.finditer(text, number.start(), min(len(text), number.end() + 8))


def _find(name: str, is_one: Callable[[str, re.Match[str]], bool], text: str) -> Iterator[tuple[int, int]]:
    """What the expression of this name finds and `is_one` accepts."""
    in_numbers = name in ("card", "aadhaar")
    for found in _in_numbers(_EXPRESSIONS[name], text) if in_numbers else _EXPRESSIONS[name].finditer(text):
        if is_one(text, found):
            yield found.span()


def _addresses(name: str, text: str) -> Iterator[tuple[int, int]]:
    return (found.span() for found in _EXPRESSIONS[name].finditer(text)) if "@" in text else iter(())


_EXPRESSIONS = {name: pattern(name) for name in ("email", "upi", "gstin", "pan", "epic", "card", "aadhaar")}
FINDERS: dict[str, Callable[[str], Iterator[tuple[int, int]]]] = {
    **{name: partial(_addresses, name) for name in ("email", "upi")},
    **{name: partial(_find, name, is_one) for name, is_one in (
        ("gstin", _is_gstin), ("pan", _is_pan), ("epic", _is_epic), ("card", _is_card), ("aadhaar", _is_aadhaar))},
    "phone": _phones,
}
"""By the end of the kind's id. What one finds is hidden from the later ones. UPI's handles are those of banks and apps,
https://www.npci.org.in/what-we-do/upi/3rd-party-apps."""
