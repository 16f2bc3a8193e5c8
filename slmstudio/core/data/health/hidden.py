"""Characters that nobody sees or wants: controls, joiners that no script needs, text in the wrong encoding or form."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from slmstudio.core.data.health.kinds import pattern

CONTROLS = frozenset(map(chr, (*range(0x20), *range(0x7F, 0xA0), 0xFEFF))) - frozenset("\t\n\r")
ABOVE_ASCII_CONTROLS = re.compile("[\x80-\x9f]")
_CONTROL = re.compile(f"[{''.join(sorted(map(re.escape, CONTROLS)))}]")
"""C0 and C1, DEL, and the byte order mark, which doesn't belong inside a text."""
LINE_BREAKS = "\x0b\x0c"
_SIGNS = {code: sign for code in range(0x80, 0xA0) if (sign := bytes([code]).decode("cp1252", errors="ignore"))}
"""What Windows-1252 has for C1 controls."""
ZWNJ, ZWJ, ZWSP = "\u200c", "\u200d", "\u200b"
BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
JOINERS = BIDI | {ZWNJ, ZWJ, ZWSP, "\u00ad", "\u2060"}
_JOINER = re.compile(f"[{''.join(sorted(JOINERS))}]")
RIGHT_TO_LEFT = pattern("right_to_left")
VIRAMA = 9
"""Canonical combining class of the signs that take a consonant's vowel away, in all scripts of India."""
CURSIVE = pattern("cursive")
"""Letters that join: Arabic, Syriac, N'Ko, Mandaic, Mongolian, Phags-pa; and Khmer, whose signs a joiner steers."""
UNSPACED = pattern("without_spaces")
"""Scripts without spaces between words, in which ZWSP says where a line may break: Thai, Lao, Tibetan, Khmer, …"""
GARBLED = frozenset(map(chr, range(0x80, 0x530)))
"""Text in a wrong one-byte encoding always has some of these: Latin, Greek or Cyrillic."""


def control(text: str) -> str | None:
    """The first control character, as an escape. C1 controls that belong to garbled text aren't counted twice."""
    if ABOVE_ASCII_CONTROLS.search(text):
        text = ungarbled(text)
    found = _CONTROL.search(text)
    return f"U+{ord(found[0]):04X}" if found else None


def without_controls(text: str) -> str:
    """Line breaks for form feeds and vertical tabs, the sign that Windows-1252 has for a C1 control, nothing else.

    Web browsers read these references so, https://html.spec.whatwg.org/#numeric-character-reference-end-state.
    """
    if ABOVE_ASCII_CONTROLS.search(text) and ungarbled(text) != text:
        # They are half of garbled letters: taken away alone, the other half would stay forever.
        text = ungarbled(text)
    return _CONTROL.sub(lambda found: _instead(found[0]), text)


def _instead(character: str) -> str:
    return "\n" if character in LINE_BREAKS else _SIGNS.get(ord(character), "")


def replacement(text: str) -> str | None:
    """What is around the first U+FFFD."""
    place = text.find("\ufffd")
    return None if place < 0 else text[max(0, place - 20):place + 20]


def denormalised(text: str) -> str | None:
    """The first word that NFC changes.

    NFC joins "e" and a combining acute to "é". Devanagari's, Bengali's, Gurmukhi's and Odia's letters with a nukta are
    excluded from composition (https://www.unicode.org/reports/tr15/#Primary_Exclusion_List_Table), so that it takes
    U+095C ड़ apart into two characters, and never the other way.
    """
    if unicodedata.is_normalized("NFC", text):
        return None
    if excluded := _EXCLUDED.search(text):
        return excluded[0]
    words = (word for word in text.split() if not unicodedata.is_normalized("NFC", word))
    return next(words, text[:40])


_EXCLUDED = pattern("excluded_from_nfc")


def composed(text: str) -> str:
    """The text in NFC."""
    return unicodedata.normalize("NFC", text)


@lru_cache(maxsize=8)
def ungarbled(text: str) -> str:
    """The text as it was before somebody decoded it wrongly: "à¤¨à¤®" was "नम". Each line is looked at by itself."""
    from ftfy import TextFixerConfig, fix_encoding

    config = TextFixerConfig(explain=False)

    def mended(line: str) -> str:
        fixed = line if line.isascii() else fix_encoding(line, config)
        # Where Windows-1252's signs for C1 controls are all that it changes, these are controls and no garbled text.
        return line if fixed == line.translate(_SIGNS) else fixed

    for _ in range(5):
        fixed = "\n".join(map(mended, text.split("\n")))
        if fixed == text:
            break
        text = fixed
    return text


def garbled(text: str) -> str | None:
    """The first line that was decoded wrongly."""
    if text.isascii() or (fixed := ungarbled(text)) == text:
        return None
    pairs = zip(text.split("\n"), fixed.split("\n"), strict=False)
    return next((line for line, mended in pairs if line != mended), text)[:80]


def stray_joiner(text: str) -> str | None:
    """The first invisible character that no script needs where it is, as an escape."""
    for found in _JOINER.finditer(text):
        if not _needed(text, found.start()):
            return f"U+{ord(found[0]):04X}"
    return None


def without_stray_joiners(text: str) -> str:
    """The text without the invisible characters that no script needs."""
    return _JOINER.sub(lambda found: found[0] if _needed(text, found.start()) else "", text)


def _needed(text: str, place: int) -> bool:
    character = text[place]
    before, after = text[place - 1:place], text[place + 1:place + 2]
    if character in BIDI:
        # They put the pieces of a line in order where it holds text from right to left.
        return _has_right_to_left(text)
    if character == ZWSP:
        return bool(UNSPACED.match(before) or UNSPACED.match(after))
    return character in (ZWJ, ZWNJ) and (_beside_virama(before, after) or _in_cursive(text, place, after)
                                         or (character == ZWJ and _in_emoji(before, after)))


@lru_cache(maxsize=8)
def _has_right_to_left(text: str) -> bool:
    return RIGHT_TO_LEFT.search(text) is not None


def _beside_virama(before: str, after: str) -> bool:
    """After a virama: half forms, eyelash ra, old chillus, Sinhala's conjuncts, and what must not be a conjunct.

    Before one, between two letters' parts: Bengali's ra with ya-phala (র‍্য), Kannada's ra that isn't a repha (ರ‍್ಯ).
    See RFC 5892, A.1 and A.2, and chapters 12 and 13 of the Unicode Standard.
    """
    if before and unicodedata.combining(before) == VIRAMA:
        return True
    return bool(after and unicodedata.combining(after) == VIRAMA and before.isalpha())


def _in_cursive(text: str, place: int, after: str) -> bool:
    """Between letters of Arabic and its like, of which one may be a letter or digit of another script (Persian PDF‌ها).

    ZWJ may also end a word: Persian's abbreviation of a date, ه‍.
    """
    start = place
    while start and unicodedata.combining(text[start - 1]):
        start -= 1
    before = text[start - 1:start]
    joined = bool(CURSIVE.match(before)) or bool(CURSIVE.match(after))
    if text[place] == ZWJ:
        return joined
    return joined and before.isalnum() and after.isalnum()


def _in_emoji(before: str, after: str) -> bool:
    import regex

    picture = r"\p{Extended_Pictographic}"
    return bool(regex.match(rf"{picture}|[\ufe0f\U0001f3fb-\U0001f3ff]", before) and regex.match(picture, after))
