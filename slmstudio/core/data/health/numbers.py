"""Numbers in a text: what they are, judging by the words before them, and which of them are phone numbers.

Indian ones are found as people write them, those of other countries with a plus.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from slmstudio.core.data.health.kinds import WORDS, either

REACH = 48
"""Characters before a number in which a word says what it is."""
_ROLE = re.compile("|".join(f"(?P<{role}>{'|'.join(words)})" for role, words in WORDS["number_roles"].items()),
                   re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?।;](?=\s)|\n")
_ABBREVIATION = re.compile(r"(?:\bno|\bnos|\bmob|\btel|\bph|\brs|\bref|\bnum|\bacct|नं|सं)\.$", re.IGNORECASE)
_GAPS = "[ \u00a0\u2010-\u2013().-]"
_NUMBER = re.compile(rf"[+(]{{0,2}}[0-9](?:{_GAPS}{{0,2}}[0-9]){{9,}}")
_GAP = "[ \u00a0\u2010-\u2013-]"
_BEFORE = r"(?:(?<![\w.,/=#$₹€£*+<>^-])|(?<=[^\W\d]-)|(?<=wa\.me/))"
_AFTER = r"(?!\w|[.,/:-]\d|%|/-)"
_PREFIX = rf"(?:\(?\+?(?:00)?91\)?{_GAP}{{0,2}}|0{_GAP}?)?"
_SPACED = (rf"(?:[0-9]{{4}}{_GAP}[0-9]{{5}}|[0-9]{{2}}{_GAP}[0-9]{{3}}{_GAP}?[0-9]{{4}}"
           rf"|[0-9]{{3}}{_GAP}[0-9]{{3}}{_GAP}?"
           rf"[0-9]{{3}}|[0-9]{_GAP}[0-9]{{4}}{_GAP}?[0-9]{{4}}|[0-9](?:{_GAP}[0-9]{{2}}){{4}})(?!{_GAP}\d)")
_MOBILE = re.compile(rf"{_BEFORE}{_PREFIX}[6-9]([0-9]{{9}}|{_SPACED}){_AFTER}")
_LANDLINE = re.compile(rf"{_BEFORE}(?<!\d{_GAP})(?:\+91{_GAP}?[1-8][0-9]{{1,3}}|\(?0[1-8][0-9]{{1,3}}\)?){_GAP}"
                       rf"[2-7][0-9]{{2,3}}{_GAP}?[0-9]{{3,4}}{_AFTER}(?!{_GAP}\d)")
_ABROAD = re.compile(rf"{_BEFORE}\+(?!91)[1-9](?:(?:{_GAP}|[.()]){{0,2}}[0-9]){{6,14}}{_AFTER}")
_PART_OF_MORE = re.compile(rf"\d{_GAP}$")
_QUANTITY = re.compile(rf"\s*{either('quantities')}", re.IGNORECASE)
_ROUND = re.compile(rf"0{{6}}$|000{_GAP}\d+000$")
"""Rounded figures, and what is subtracted from them ("80000-20000")."""


def in_numbers(pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    """What `pattern` finds where ten digits or more are near each other: much quicker than everywhere.

    The pattern must begin with a digit, a plus or a bracket, and look no further than 8 characters past the number.
    """
    for number in _NUMBER.finditer(text):
        yield from pattern.finditer(text, number.start(), min(len(text), number.end() + 8))


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


def phones(text: str) -> Iterator[tuple[int, int]]:
    """(start, end) of every phone number, from left to right."""
    found = [match for pattern in (_MOBILE, _LANDLINE, _ABROAD) for match in in_numbers(pattern, text)]
    taken = 0
    for match in sorted(found, key=lambda match: (match.start(), -match.end())):
        if match.start() >= taken and _is_phone(text, match):
            taken = match.end()
            yield match.span()


def _is_phone(text: str, match: re.Match[str]) -> bool:
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
    return _is_valid(written)


def _is_valid(written: str) -> bool:
    import phonenumbers

    try:
        return bool(phonenumbers.is_valid_number(phonenumbers.parse(written, "IN")))
    except phonenumbers.NumberParseException:
        return False
