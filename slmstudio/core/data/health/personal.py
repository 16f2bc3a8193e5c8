"""Identifiers of people in India and elsewhere: where they are in a text, and the text with masks in their place.

A number says little by itself: one in ten numbers of an order passes a checksum of one digit. So what comes before it
decides too: after "order no." or "₹" nothing is taken for a person's number, after "phone" or "आधार" it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial
from typing import NamedTuple

from slmstudio.core.data.health.kinds import KINDS, WORDS, either
from slmstudio.core.data.health.numbers import in_numbers, phones, role_before
from slmstudio.core.digits import plain_digits

PREFIX = "personal_"
_SEPARATORS = "[ \u00a0\u2010-\u2013-]"
_SEVEN_DIGITS = re.compile(r"[0-9](?:[ \u00a0\u2010-\u2013().-]{0,3}[0-9]){6}")
_INSIDE_PAN = re.compile(r"[0-9]{4}[A-Za-z](?<=[A-Za-z]{5}[0-9]{4}[A-Za-z])")
"""These begin with a digit and nothing else, so that a text is searched quickly."""
_EMAIL = re.compile(r"(?<![\w.+%-])(?!git@)[\w+%][\w.+%-]{0,63}@(?:[\w-]{1,63}\.){1,8}(?!\d)[^\W_]{2,24}(?![\w@])")
_UPI = re.compile(rf"(?<![\w.+%/-])[\w][\w.-]{{1,60}}@{either('upi_handles')}(?![\w@-])(?!\.\w)", re.IGNORECASE)
"""Handles of banks and apps, https://www.npci.org.in/what-we-do/upi/3rd-party-apps, and what looks like one."""
_GSTIN = re.compile(r"(?<![A-Za-z0-9])[0-9]{2}[A-Z]{5}[0-9]{4}[A-Z][1-9A-Z]Z[0-9A-Z](?![A-Za-z0-9])", re.IGNORECASE)
NEWER_STATES = ("38", "97", "99")
"""Ladakh, other territory, centre: state codes that stdnum doesn't know."""
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_PAN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{5}[0-9]{4}[A-Za-z](?![A-Za-z0-9])")
_EPIC = re.compile(r"(?<![A-Za-z0-9/-])[A-Z]{3}[0-9]{7}(?![A-Za-z0-9])")
_NO_EPIC = frozenset(WORDS["series"])
"""How numbers of orders, invoices and the like begin."""
_AADHAAR = re.compile(rf"(?<![\w.,/=#+$₹-])(?<!\d{_SEPARATORS})(?:[2-9][0-9]{{11}}|[2-9][0-9]{{3}}({_SEPARATORS})"
                      rf"[0-9]{{4}}\1[0-9]{{4}})(?!\w|[.,/-]\d|{_SEPARATORS}\d{{4}}(?!\d))")
_CARD = re.compile(rf"(?<![\w.,/=#+$₹-])(?<!\d{_SEPARATORS})(?:[2-68][0-9]{{12,18}}"
                   rf"|[2-68][0-9]{{3}}({_SEPARATORS})[0-9]{{4}}\1[0-9]{{4}}\1[0-9]{{4}}(?:\1[0-9]{{3}})?"
                   rf"|3[0-9]{{3}}({_SEPARATORS})[0-9]{{6}}\2[0-9]{{4,5}})(?!\w|[.,/-]\d|{_SEPARATORS}\d)")
_ISSUERS = [(re.compile(begin), lengths) for begin, lengths in WORDS["card_issuers"]]
"""Visa, Mastercard, American Express, Discover, RuPay, Diners Club, JCB, UnionPay, Maestro: how their numbers begin
and how long they are, https://en.wikipedia.org/wiki/Payment_card_number."""


class Identifier(NamedTuple):
    """An identifier in text[start:end]; `kind` as in `KINDS`."""

    start: int
    end: int
    kind: str


_Finder = Callable[[str], Iterator[tuple[int, int]]]


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
    for name, finder in FINDERS:
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


def _addresses(pattern: re.Pattern[str], text: str) -> Iterator[tuple[int, int]]:
    return (found.span() for found in pattern.finditer(text)) if "@" in text else iter(())


def _gstins(text: str) -> Iterator[tuple[int, int]]:
    from stdnum import luhn
    from stdnum.in_ import gstin, pan

    for found in _GSTIN.finditer(text):
        number = found[0].upper()
        newer = number[:2] in NEWER_STATES and pan.is_valid(number[2:12]) and luhn.is_valid(number, _ALPHABET)
        if newer or gstin.is_valid(number):
            yield found.span()


def _pans(text: str) -> Iterator[tuple[int, int]]:
    from stdnum.in_ import pan

    for found in _PAN.finditer(text):
        # In lower case, names of users look like this.
        meant = found[0].isupper() or "pan" in text[max(0, found.start() - 30):found.start()].lower()
        if meant and pan.is_valid(found[0]) and role_before(text, found.start()) != "thing":
            yield found.span()


def _epics(text: str) -> Iterator[tuple[int, int]]:
    from stdnum.in_ import epic

    for found in _EPIC.finditer(text):
        role = role_before(text, found.start())
        if epic.is_valid(found[0]) and (role == "epic" or (role != "thing" and found[0][:3] not in _NO_EPIC)):
            yield found.span()


def _cards(text: str) -> Iterator[tuple[int, int]]:
    from stdnum import luhn

    for found in in_numbers(_CARD, text):
        digits = re.sub("[^0-9]", "", found[0])
        issued = any(issuer.match(digits) and len(digits) in lengths for issuer, lengths in _ISSUERS)
        if issued and len(set(digits)) > 1 and luhn.is_valid(digits) and role_before(text, found.start()) != "thing":
            yield found.span()


def _aadhaars(text: str) -> Iterator[tuple[int, int]]:
    from stdnum.in_ import aadhaar

    for found in in_numbers(_AADHAAR, text):
        digits = re.sub("[^0-9]", "", found[0])
        role = role_before(text, found.start())
        if role == "phone" and re.match("91[6-9]", digits):
            continue
        if aadhaar.is_valid(digits) and role != "thing":
            yield found.span()


FINDERS: tuple[tuple[str, _Finder], ...] = (
    ("email", partial(_addresses, _EMAIL)), ("upi", partial(_addresses, _UPI)), ("gstin", _gstins), ("pan", _pans),
    ("epic", _epics), ("card", _cards), ("aadhaar", _aadhaars), ("phone", phones),
)
"""By the end of the kind's id. What one finds is hidden from the later ones."""
