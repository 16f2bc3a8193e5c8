"""Words with letters of two scripts, and Hindi in Latin letters."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

from slmstudio.core.data.health.finding import WORDS, pattern
from slmstudio.core.data.health.texts import Row
from slmstudio.core.data.statistics import BLOCKS, script_of

ALPHABETS = frozenset({"Latin", "Greek", "Cyrillic"})
FIRST_OF_INDIC = {script: 0x0900 + 0x80 * number for number, script in enumerate((
    "Devanagari", "Bengali", "Gurmukhi", "Gujarati", "Odia", "Tamil", "Telugu", "Kannada", "Malayalam"))}
"""Where their blocks begin, which have the same letters in the same places, as ISCII had."""
_SHARED = frozenset("\u0951\u0952\u0953\u0954\u0964\u0965")
"""Signs in Devanagari's block that all scripts of India use: accents and dandas."""
_SCRIPT_OF = {letter: script for first, last, script in BLOCKS if script in ALPHABETS or script in FIRST_OF_INDIC
              for letter in map(chr, range(first, last + 1)) if script_of(letter) == script and letter not in _SHARED}
_CLASSES = {script: "".join(letter for letter, its in _SCRIPT_OF.items() if its == script)
            for script in dict.fromkeys(_SCRIPT_OF.values())}
"""Letters and signs, none of which means anything else in a regular expression."""
_WORD = re.compile(f"[{''.join(_SCRIPT_OF)}\u0300-\u036f\u200c\u200d]+")
_TO_LATIN = {script: dict(zip(*pairs, strict=True)) for script, pairs in WORDS["lookalikes"].items()}
"""Letters that look the same in every typeface. µ, Δ, β and their like are used beside Latin letters in science."""
_OWN: dict[str, dict[str, str]] = {
    "Latin": {letter: latin for pairs in _TO_LATIN.values() for letter, latin in pairs.items()},
    **{script: {latin: letter for letter, latin in pairs.items()} for script, pairs in _TO_LATIN.items()},
    **{main: {letter: moved for letter, script in _SCRIPT_OF.items() if script in FIRST_OF_INDIC
              and _SCRIPT_OF.get(moved := chr(ord(letter) - FIRST_OF_INDIC[script] + first)) == main}
       for main, first in FIRST_OF_INDIC.items()}}
"""By the script of a word, its own letters for those of others."""
_INSIDE, _ENDS = pattern("latin_inside"), ((pattern("latin_for_danda"), "।"), (pattern("latin_for_abbreviation"), "॰"))
_STRONG, _WEAK = frozenset(WORDS["hindi_words"]), frozenset(WORDS["hindi_weak_words"])
"""Hindi words in Latin letters: those that aren't words of English, and those that other languages have too."""
_LATIN_WORD = re.compile("[a-z]+")
LEAST_SHARE = 0.3
"""Share of words that must be Hindi. About half the words of a Hindi sentence are in these lists."""


def may_be_mixed(row: Row) -> bool:
    """Whether a row has letters of two scripts that can be mixed up."""
    return not row.letters.isascii() and len(_scripts_of(row.letters)) > 1


def in_own_script(text: str) -> str | None:
    """The text with letters of another script, which stand for the word's own, written in the script of their words;
    None if one can't be.

    These are letters that look like the word's own (Cyrillic "р" in "рaypal"); letters of two scripts of India; Latin
    letters inside a word of an Indian script; Latin I or l for the danda at its end, and o for the sign of an
    abbreviation. A Latin word with an Indian ending ("NFLमें", "APIகளை"), which people write every day, isn't one.
    """
    border = _border(_scripts_of(set(text)))
    if border is None or not border.search(text):
        return text
    words = {word: _in_own_script(word) for word in _WORD.findall(text) if border.search(word)}
    return None if None in words.values() else _WORD.sub(lambda found: words.get(found[0]) or found[0], text)


def _scripts_of(letters: Iterable[str]) -> frozenset[str]:
    return frozenset(filter(None, map(_SCRIPT_OF.get, letters)))


@lru_cache(maxsize=256)
def _border(scripts: frozenset[str]) -> re.Pattern[str] | None:
    """Where letters of two of these scripts meet."""
    sides = (rf"[{_CLASSES[script]}](?=[{''.join(_CLASSES[other] for other in sorted(scripts - {script}))}])"
             for script in sorted(scripts))
    return re.compile("|".join(sides)) if len(scripts) > 1 else None


@lru_cache(maxsize=4096)
def _in_own_script(word: str) -> str | None:
    if _INSIDE.search(word):
        return None
    for end, sign in _ENDS:
        word = end.sub(sign, word)
    counts = Counter(filter(None, map(_SCRIPT_OF.get, word)))
    main = max(counts, key=counts.__getitem__)
    kin = ALPHABETS if main in ALPHABETS else FIRST_OF_INDIC.keys()
    own = {letter: _OWN[main].get(letter) for letter in word if _SCRIPT_OF.get(letter) in kin - {main}}
    if main in ALPHABETS and (None in own.values() or len(word) < 3):
        return word
    return None if None in own.values() else "".join(own.get(letter) or letter for letter in word)


def is_romanised_hindi(row: Row) -> bool:
    """Whether a text is Hindi in Latin letters: some words that only Hindi has, and many of its words."""
    if "h" not in row.letters or _STRONG.isdisjoint(row.joined.lower().split()):
        return False
    for text in row.spoken:
        words = _LATIN_WORD.findall(text.lower())
        hindi = sum(word in _STRONG or word in _WEAK for word in words)
        if len(_STRONG.intersection(words)) >= 2 and hindi >= LEAST_SHARE * len(words):
            return True
    return False
