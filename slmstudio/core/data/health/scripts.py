"""Words with letters of two scripts, and Hindi in Latin letters."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Set as AbstractSet
from functools import lru_cache
from itertools import groupby

from slmstudio.core.data.health.kinds import WORDS
from slmstudio.core.data.statistics import BLOCKS, script_of

ALPHABETS = ("Latin", "Greek", "Cyrillic")
INDIC = ("Devanagari", "Bengali", "Gurmukhi", "Gujarati", "Odia", "Tamil", "Telugu", "Kannada", "Malayalam")
FIRST_OF_INDIC = {script: 0x0900 + 0x80 * number for number, script in enumerate(INDIC)}
"""Their blocks have the same letters in the same places, as ISCII had."""
SHARED = re.compile("[\u0951-\u0954\u0964\u0965]")
"""Signs in Devanagari's block that all scripts of India use: accents and dandas."""
WITH_DANDA = frozenset({"Devanagari", "Bengali", "Gurmukhi", "Odia"})
_TO_LATIN = {script: dict(zip(*pairs, strict=True)) for script, pairs in WORDS["lookalikes"].items()}
"""Letters that look the same in every typeface. µ, Δ, β and their like are used beside Latin letters in science."""
_LOOKALIKES = {("Latin", "Latin"): {}, **{(script, "Latin"): pairs for script, pairs in _TO_LATIN.items()},
               **{("Latin", script): {latin: letter for letter, latin in pairs.items()}
                  for script, pairs in _TO_LATIN.items()}}
"""(script of the stray letters, script of the word) → letters."""

STRONG = frozenset(WORDS["hindi_words"])
"""Hindi words in Latin letters that aren't words of English."""
WEAK = frozenset(WORDS["hindi_weak_words"])
"""Hindi words in Latin letters that are words of other languages too."""
LEAST_SHARE = 0.3
"""Share of words that must be Hindi. About half the words of a Hindi sentence are in these lists."""
_LATIN_WORD = re.compile("[a-z]+")


def mixed_script_word(text: str) -> str | None:
    """The first word in which a letter of another script stands for one of its own.

    Faults are: letters that look like the word's own (Cyrillic "р" in "рaypal"); letters of two scripts of India; a
    Latin letter inside a word of an Indian script; Latin I or l for the danda at its end, and o for the sign of an
    abbreviation. A Latin word with an Indian ending ("NFLमें", "APIகளை"), which people write every day, isn't one.
    """
    return next(filter(_is_mixed, _suspects(text)), None)


def in_own_script(text: str) -> str | None:
    """The text with such letters written in the script of their words; None if one can't be."""
    for _ in range(10):
        faulty = [word for word in dict.fromkeys(_suspects(text)) if _is_mixed(word)]
        if not faulty:
            return text
        for word in faulty:
            mended = _mended(word)
            if mended is None or mended == word:
                return None
            text = re.sub(rf"(?<![{_WORD}]){re.escape(word)}(?![{_WORD}])", str(mended).replace("\\", r"\\"), text)
    return None


def scripts_of(letters: AbstractSet[str]) -> frozenset[str]:
    """Scripts of the letters, as far as they can be mixed up."""
    return frozenset(filter(None, map(_SCRIPT_OF.get, letters)))


@lru_cache(maxsize=4096)
def _script(character: str) -> str | None:
    return None if SHARED.match(character) else script_of(character)


def _letters_of(script: str) -> str:
    """The letters and signs of a script."""
    ranges = ((first, last) for first, last, name in BLOCKS if name == script)
    return "".join(chr(code) for first, last in ranges for code in range(first,
                                                                         last + 1) if _script(chr(code)) == script)


_CLASSES = {script: _letters_of(script) for script in (*ALPHABETS, *INDIC)}
"""Letters and signs, none of which means anything else in a regular expression."""
_SCRIPT_OF = {letter: script for script, letters in _CLASSES.items() for letter in letters}
_WORD = "".join(_CLASSES.values()) + "\u0300-\u036f\u200c\u200d"


@lru_cache(maxsize=256)
def _border(scripts: frozenset[str]) -> re.Pattern[str]:
    """Where letters of two scripts meet."""
    sides = (rf"[{_CLASSES[script]}](?=[{''.join(_CLASSES[other] for other in sorted(scripts - {script}))}])"
             for script in sorted(scripts))
    return re.compile("|".join(sides))


@lru_cache(maxsize=1)
def _word() -> re.Pattern[str]:
    return re.compile(f"[{_WORD}]+")


def _suspects(text: str) -> list[str]:
    """Words in which two scripts meet."""
    scripts = scripts_of(set(text))
    if len(scripts) < 2:
        return []
    border = _border(scripts)
    if not border.search(text):
        return []
    return [word for word in _word().findall(text) if border.search(word)]


def _runs(word: str) -> list[tuple[str, str]]:
    """(script, letters) along a word; joiners and accents go with the letters before them."""
    scripts: list[str] = []
    for letter in word:
        scripts.append(_script(letter) or (scripts[-1] if scripts else ""))
    pairs = groupby(zip(scripts, word, strict=True), key=lambda pair: pair[0])
    return [(script, "".join(letter for _, letter in group)) for script, group in pairs]


def _main_script(runs: list[tuple[str, str]]) -> str:
    lengths: dict[str, int] = {}
    for script, letters in runs:
        lengths[script] = lengths.get(script, 0) + len(letters)
    return max(lengths, key=lengths.__getitem__)


@lru_cache(maxsize=4096)
def _is_mixed(word: str) -> bool:
    runs = _runs(word)
    main = _main_script(runs)
    others = {script for script, _ in runs} - {main}
    if main in ALPHABETS and others <= set(ALPHABETS):
        return len(word) > 2 and all(letter in _LOOKALIKES.get((script, main), {})
                                     for script, letters in runs if script != main for letter in letters)
    if len((others | {main}) & set(INDIC)) > 1:
        return True
    return any(_is_inside(runs, place) or _is_sign(runs, place) for place in range(1, len(runs)))


def _is_inside(runs: list[tuple[str, str]], place: int) -> bool:
    """Whether one Latin letter, or two small ones, are between letters of an Indian script; x is a sign there."""
    script, letters = runs[place]
    short = len(letters) == 1 or (len(letters) == 2 and letters.islower())
    return (script == "Latin" and short and letters not in "xX" and place + 1 < len(runs)
            and runs[place - 1][0] == runs[place + 1][0] in INDIC)


def _is_sign(runs: list[tuple[str, str]], place: int) -> bool:
    """Whether a Latin letter at the end stands for a danda, or for Devanagari's sign of an abbreviation."""
    script, letters = runs[place]
    before = runs[place - 1][0]
    return (script == "Latin" and place == len(runs) - 1
            and ((letters in ("I", "l") and before in WITH_DANDA) or (letters == "o" and before == "Devanagari")))


def _mended(word: str) -> str | None:
    runs = _runs(word)
    main = _main_script(runs)
    mended = []
    for place, (script, letters) in enumerate(runs):
        if script == main:
            mended.append(letters)
        elif (pairs := _LOOKALIKES.get((script, main))) is not None:
            if not pairs.keys() >= set(letters):  # a word of three scripts may have letters that look like none
                return None
            mended.append("".join(pairs[letter] for letter in letters))
        elif script in INDIC and main in INDIC:
            mended.append("".join(_transposed(letter, script, main) for letter in letters))
        elif place and _is_sign(runs, place):
            mended.append("॰" if letters == "o" else "।")
        elif not _is_inside(runs, place):
            mended.append(letters)
        else:
            return None
    return "".join(mended)


def _transposed(letter: str, script: str, main: str) -> str:
    """The letter that has the same place in the other script's block, where there is one."""
    if _script(letter) != script:
        return letter
    moved = chr(ord(letter) - FIRST_OF_INDIC[script] + FIRST_OF_INDIC[main])
    return moved if unicodedata.category(moved) == unicodedata.category(letter) and _script(moved) == main else letter


def may_be_romanised(text: str) -> bool:
    """Whether it is worth asking `romanised_hindi`: one of its words is in the text, with spaces around it."""
    return not STRONG.isdisjoint(text.lower().split())


def romanised_hindi(text: str) -> str | None:
    """The beginning of a text that is Hindi in Latin letters: some words that only Hindi has, and many of its words."""
    words = _LATIN_WORD.findall(text.lower())
    strong = sum(word in STRONG for word in words)
    weak = sum(word in WEAK for word in words)
    distinct = len(STRONG.intersection(words))
    return text[:80] if distinct >= 2 and strong + weak >= LEAST_SHARE * len(words) else None
