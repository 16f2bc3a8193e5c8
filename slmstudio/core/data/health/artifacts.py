"""The texts of a row, and what got into them and doesn't belong there: controls, joiners that no script needs, text in
the wrong encoding, tokens of models, HTML, placeholders that nobody filled in, words with letters of two scripts, and
Hindi in Latin letters.

The functions that mend a text give the very same text where nothing is wrong with it.
"""

from __future__ import annotations

import html
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cached_property, lru_cache
from html.entities import html5
from typing import Any, Literal

from slmstudio.core.data.conversations import Message
from slmstudio.core.data.health.finding import PATTERNS, WORDS, pattern, written
from slmstudio.core.data.languages import BLOCKS, script_of
from slmstudio.core.data.record import Record
from slmstudio.core.units import plain_digits

# -- The texts of a row, what checks ask of them, and the row with its texts changed.

CODE = re.compile(r"(```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)|`[^`\n]+`)", re.DOTALL)
"""Code in Markdown: fenced, or between backticks in a line. What looks like a fault there is intended."""
_FOREIGN_DIGIT = re.compile(r"[^\D0-9]")
_SEVEN_DIGITS, _INSIDE_PAN = pattern("seven_digits"), pattern("inside_pan")
"""These begin with a digit and nothing else, so that a text is searched quickly."""
Part = Literal["everything", "spoken", "answers"]
"""Texts of a row: all that is learned from or read; what people and the assistant say, without what tools are called
with and return; or what the assistant answers, without calls of tools and rejected answers."""


class Row:
    """A row, and what the checks ask of it, each found out once.

    Attributes:
        everything, spoken, answers: its texts, see `Part`.
        letters: every character in them, once.
    """

    def __init__(self, record: Record):
        self.record = record
        beside = [text for text in (record.rejected, record.text) if text is not None]
        self.spoken = [message["content"] for message in record.messages if message["role"] != "tool"] + beside
        self.answers = [message["content"] for message in record.messages if _is_answer(message)]
        self.everything = self.spoken
        if record.has_tools:
            self.everything = []
            rewritten(record, self._note, "everything")
        self.joined = self.everything[0] if len(self.everything) == 1 else "\n".join(self.everything)
        self.letters = "".join(set(self.joined))

    def _note(self, text: str) -> str:
        self.everything.append(text)
        return text

    @cached_property
    def may_be_personal(self) -> bool:
        """Whether there may be identifiers of people; quickly says no for nearly all rows without any."""
        text = plain_digits(self.joined) if _FOREIGN_DIGIT.search(self.letters) else self.joined
        return "@" in text or _SEVEN_DIGITS.search(text) is not None or _INSIDE_PAN.search(text) is not None


def canonical(value: Any) -> str:
    """Tools or calls of them as one text: the same for the same, whatever the order of keys; "" for none."""
    return json.dumps(value, sort_keys=True, ensure_ascii=True, default=str) if value else ""


def rewritten(record: Record, change: Callable[[str], str], part: Part) -> Record:
    """The row with `change` made to each text of a part of it; of calls of tools to the values that they are called
    with, never to keys or names."""
    def message(each: Message) -> Message:
        if (part == "spoken" and each["role"] == "tool") or (part == "answers" and not _is_answer(each)):
            return each
        new = {**each, "content": change(each["content"])}
        if part == "everything" and each.get("tool_calls"):
            new["tool_calls"] = _rewritten_values(each["tool_calls"], change)
        return new

    def beside(text: str | None) -> str | None:
        return text if text is None or part == "answers" else change(text)

    return replace(record, messages=tuple(map(message, record.messages)), rejected=beside(record.rejected),
                   text=beside(record.text))


def _is_answer(message: Message) -> bool:
    return message["role"] == "assistant" and not message.get("tool_calls")


def _rewritten_values(value: Any, change: Callable[[str], str], is_value: bool = False) -> Any:
    if isinstance(value, str):
        return change(value) if is_value else value
    if isinstance(value, dict):
        return {key: _rewritten_values(each, change, is_value or key == "arguments") for key, each in value.items()}
    return ([_rewritten_values(each, change, is_value) for each in value] if isinstance(value, (list, tuple))
            else value)


def prose_parts(text: str) -> list[str]:
    """The text in parts that make it up when joined: prose and code in turns, prose first."""
    return CODE.split(text) if "`" in text or "~~~" in text else [text]


def is_blank(text: str) -> bool:
    """Whether nothing is visible: only blanks, controls and invisible characters."""
    return not any(character.isprintable() and not character.isspace() for character in text)


# -- words with letters of two scripts, and Hindi in Latin letters -------------------------------------------------

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


CONTROL, _ABOVE_ASCII_CONTROL = pattern("control"), re.compile("[\x80-\x9f]")
"""C0 and C1, DEL, and the byte order mark, which doesn't belong inside a text."""
_SIGNS = {code: sign for code in range(0x80, 0xA0) if (sign := bytes([code]).decode("cp1252", errors="ignore"))}
"""What Windows-1252 has for C1 controls."""
JOINER, _RIGHT_TO_LEFT = pattern("joiner"), pattern("right_to_left")
MAY_BE_GARBLED = pattern("may_be_garbled")
"""Text in a wrong one-byte encoding always has some of these: Latin, Greek or Cyrillic."""
_TAG = pattern("tag")
"""Tags that no prompt uses as its own marks, as it does <title> or <source>. b, i, u and a are names in code and in
mathematics too: they need an attribute or an end."""
_ENTITY_NAME = re.compile(written("html_entities") + ";")
_ENTITY = re.compile(r"&(?:#\d{1,7};|#[xX][0-9a-fA-F]{1,6};|"
                     + "|".join(filter(_ENTITY_NAME.fullmatch, sorted(html5))) + ")")
_ABOUT_MARKUP = re.compile(written("about_markup"), re.IGNORECASE)
"""In a row that speaks of these, tags are meant."""
_AS_TEXT = [(pattern(name), sign) for name, sign in (
    ("script_or_style", ""), ("superscript", "^"), ("list_item", "- "), ("block_end", "\n"), ("tag", ""))]
"""What is written for tags, in this order."""
_PLACEHOLDERS = {sign: re.compile(written(name)) for sign, name in PATTERNS["placeholders"].items()}
"""By what is in every text that has one."""
_CODE_LINE = pattern("code_lines")
"""A line of a program or of LaTeX that nobody marked as code: its braces aren't placeholders."""


def without_controls(text: str) -> str:
    """Line breaks for form feeds and vertical tabs, the sign that Windows-1252 has for a C1 control, nothing else.

    Web browsers read these references so, https://html.spec.whatwg.org/#numeric-character-reference-end-state. C1
    controls that are half of garbled letters belong to these: taken away alone, the other half would stay forever.
    """
    restored = ungarbled(text) if _ABOVE_ASCII_CONTROL.search(text) else text
    if not CONTROL.search(restored):
        return text
    return CONTROL.sub(lambda found: "\n" if found[0] in "\x0b\x0c" else _SIGNS.get(ord(found[0]), ""), restored)


@lru_cache(maxsize=8)
def ungarbled(text: str) -> str:
    """The text as it was before somebody decoded it wrongly: "à¤¨à¤®" was "नम". Each line is looked at by itself."""
    from ftfy import TextFixerConfig, fix_encoding

    config = TextFixerConfig(explain=False)

    def mended(line: str) -> str:
        fixed = line if line.isascii() else fix_encoding(line, config)
        # Where Windows-1252's signs for C1 controls are all that it changes, these are controls and no garbled text.
        return line if fixed == line.translate(_SIGNS) else fixed

    return "\n".join(map(mended, text.split("\n")))


@lru_cache(maxsize=2)
def _stray_joiner(right_to_left: bool) -> re.Pattern[str]:
    import regex

    found: re.Pattern[str] = regex.compile(written("stray_right_to_left" if right_to_left else "stray_joiner"))
    return found


def without_stray_joiners(text: str) -> str:
    """The text without the invisible characters that no script needs where they are. Marks of direction put the pieces
    of a line in order where it holds text from right to left."""
    return _stray_joiner(_RIGHT_TO_LEFT.search(text) is not None).sub(lambda found: found[1] or "", text)


def token_finder(tokens: tuple[str, ...]) -> re.Pattern[str]:
    """Finds special tokens: those of one model and the well-known ones of the GPT, ChatML, Llama, Mistral, Gemma, Phi,
    Qwen and DeepSeek families. One that is a plain word or sign is left out."""
    marks = {token for token in tokens if len(token) > 2 and not token.isalnum() and not token.isspace()}
    return re.compile("|".join((*map(re.escape, sorted(marks, key=len, reverse=True)), written("special_tokens"))))


def without_tokens(text: str, finder: re.Pattern[str]) -> str:
    """The text without them, also without those that appear when others go ("<<s>s>")."""
    while finder.search(text):
        text = finder.sub("", text)
    return text


def may_be_markup(row: Row) -> bool:
    """Whether there may be tags or entities that aren't meant: none are in a row that speaks of HTML."""
    return (("<" in row.letters or "&" in row.letters) and _has_markup(row.joined)
            and not _ABOUT_MARKUP.search(row.joined))


def _has_markup(text: str) -> bool:
    return bool(_TAG.search(text) or _ENTITY.search(text))


def without_markup(text: str) -> str:
    """The text without HTML: line breaks where paragraphs end, "- " for items of lists, ^ for superscripts. Code stays
    as it is."""
    parts = prose_parts(text)
    while any(map(_has_markup, parts[::2])):
        parts[::2] = map(_plain, parts[::2])
        text = "".join(parts).strip()
        parts = prose_parts(text)
    return text


def _plain(part: str) -> str:
    if not _has_markup(part):
        return part
    for tag, sign in _AS_TEXT:
        part = tag.sub(sign, part)
    part = _ENTITY.sub(lambda entity: html.unescape(entity[0]).replace("\xa0", " "), part)
    return re.sub(r"\n{3,}", "\n\n", part)


def has_placeholder(row: Row) -> bool:
    """Whether there is a placeholder outside code. What masks personal data here ("[EMAIL]") is none."""
    wanted = [each for sign, each in _PLACEHOLDERS.items() if sign in row.joined]
    return bool(wanted) and any(each.search(line) and not _CODE_LINE.search(line)
                                for text in row.spoken for part in prose_parts(text)[::2] for line in part.split("\n")
                                for each in wanted)
