"""What columns are called: by what they hold, in other spellings, and in other languages.

The words are in resources/importing/column_names.json:

- "words": for each name, what a column is called elsewhere; "_" stands for a space.
- "roles": the names of columns that hold something, the likeliest first. They are attributes of this module (`ASKED`).
- "sets": the same without an order, as a frozenset; "@asked" stands for the names of a role or of another set.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from slmstudio.core import paths
from slmstudio.core.units import plain_digits

LANGUAGE = re.compile(r"(?:.*_)?[a-z]{3}_[A-Z][a-z]{3}")
"""What columns of a language are called in the sets of AI4Bharat and in FLORES: "hin_Deva", "sentence_hin_Deva"."""
SHORT = 2
"""Letters of words that mean many things, such as "no" does."""
SURE_LENGTH = 5
"""Shorter words in Latin letters mean other things elsewhere, such as "que" does."""
_BETWEEN = re.compile(r"[\s\u200b\ufeff_.:：*()（）\[\]/?!।,-]+")
_OF_CHOICE = re.compile(r"(?P<word>.+?)_?(?P<mark>(?<=_)(?:[a-z]|[^\W\d_a-z])|\d)")
_CHOICE = re.compile(r"(?:choice|option|opt|alternative)_?\w")
_CAMEL = re.compile("(?<=[a-z])(?=[A-Z])")
_HAN = re.compile("[\u3040-\u30ff\u3400-\u9fff]+")
_SERIES = {"choices": "choice", "alternatives": "alternative", "answer": "answer"}
"""What the columns of single choices are called, by the word for all of them: "विकल्प A", "Antwort A"."""


def __getattr__(name: str) -> Any:
    """The words of a role, such as `ASKED`; read when one is first wanted."""
    if name.startswith("_") or not name.isupper():
        raise AttributeError(name)
    try:
        globals()[name] = found = _table()[name.lower()]
    except KeyError:
        raise AttributeError(name) from None
    return found


@lru_cache(maxsize=1)
def _table() -> dict[str, Any]:
    file = json.loads((paths.resources() / "importing" / "column_names.json").read_text(encoding="utf-8"))

    def listed(lines: str | list[str]) -> list[str]:
        return (lines if isinstance(lines, str) else " ".join(lines)).split()

    found: dict[str, Any] = {"words": {name: tuple(listed(lines)) for name, lines in file["words"].items()}}
    for kind, made in (("roles", tuple), ("sets", frozenset)):
        for name, lines in file[kind].items():
            found[name] = made(word for part in listed(lines)
                               for word in (found[part[1:]] if part.startswith("@") else (part,)))
    return found


@lru_cache(maxsize=1)
def _known() -> dict[str, str]:
    return {_plain(word): name for name, words in _table()["words"].items() for word in words}


@lru_cache(maxsize=1)
def _row_words() -> frozenset[str]:
    words: Iterable[str] = _table()["row_words"]
    return frozenset(map(_plain, words))


@lru_cache(maxsize=1)
def _about() -> frozenset[str]:
    """Words that change the meaning of a name: "question_id", "answer_start", "original_question"."""
    return _row_words().union(_table()["other_words"])


@lru_cache(maxsize=4096)  # all rows of a file have the same columns, or few different ones
def column(name: str) -> str:
    """The name by which a column is known: in lower case and English, "_" between its words.

    >>> column(" Reference Answer"), column("प्रश्न"), column("Réponse:"), column("विकल्प (२)")
    ('reference_answer', 'question', 'answer', 'choice_2')
    """
    plain = _plain(name)
    of_choice = _OF_CHOICE.fullmatch(plain)
    if of_choice and (series := _SERIES.get(_known().get(of_choice["word"], ""))):
        return f"{series}_{of_choice['mark']}"
    return _known().get(plain, plain)


def _plain(name: str) -> str:
    text = plain_digits(unicodedata.normalize("NFC", name).casefold())
    text = text.replace("\u200c", "").replace("\u200d", "")  # words are written with joiners and without
    return _BETWEEN.sub("_", text).strip("_") or name.strip()


def is_known(name: str) -> bool:
    """Whether a word is one that columns are called by, in any of the languages; or those of single choices."""
    known = column(name)
    return not _table()["known"].isdisjoint((known, name.strip().casefold())) or _CHOICE.fullmatch(known) is not None


def is_choice(name: str) -> bool:
    """Whether a column holds one of several choices, such as "Option (a)"."""
    return _CHOICE.fullmatch(column(name)) is not None


def is_sure(name: str) -> bool:
    """Whether a word is a name of what is asked or answered, and hardly that itself, such as "story" may be."""
    return column(name) in _table()["sure"] - _table()["ambiguous"]


def words_in(name: str) -> set[str]:
    """Plain words for question and answer within a longer name, as in "Question (Hindi)", "Frage des Kunden" or
    "userPrompt".

    >>> sorted(words_in("Question (Hindi)")), words_in("question_id")
    (['question'], set())
    """
    words = {_known().get(word, word) if not word.isascii() or len(word) >= SURE_LENGTH else word
             for word in _plain(_CAMEL.sub("_", name)).split("_")}
    table = _table()
    return set() if words & _about() else words & (table["questions"] | table["replies_to"] | {"translation"})


@lru_cache(maxsize=1 << 15)
def all_words(name: str) -> frozenset[str]:
    """The plain words of a name: of "englishQuestion", "english" and "question"."""
    words = _plain(_CAMEL.sub("_", name)).split("_")
    return frozenset((column(name), *(_known().get(word, word) for word in words)))


def is_head(name: str) -> bool:
    """Whether a column has what its row is about, such as its title, a term or the name of a thing; not of a person."""
    words = all_words(name)
    return not words.isdisjoint(_table()["head_words"]) and words.isdisjoint(_table()["people_words"])


@lru_cache(maxsize=1)
def _languages() -> frozenset[str]:
    return frozenset(map(_plain, _table()["languages"]))


@lru_cache(maxsize=1)
def _han_languages() -> tuple[str, ...]:
    """Those in Chinese and Japanese, which put no spaces between words."""
    return tuple(filter(_HAN.fullmatch, _languages()))


def is_language(name: str) -> bool:
    """Whether a column has something in the language that it is called by: "English", "Hindi word", "英文".

    >>> is_language("Hindi word"), is_language("हिन्दी"), is_language("完整繁中名稱"), is_language("English teacher")
    (True, True, True, False)
    """
    words = set(_plain(_CAMEL.sub("_", name)).split("_"))
    called = {word for word in words if word in _languages() or any(each in word for each in _han_languages())}
    return bool(called) and words - called <= _table()["head_words"] | {"text", "sentence"}


def is_about(name: str) -> bool:
    """Whether a column says something about its row by its name, as a date, a number or who it was: "आवेदक का नाम"."""
    return _has_word(name, _row_words())


def ask_and_answer(names: Sequence[str]) -> tuple[int, int] | None:
    """The places of the names of questions and of answers among those of a table; None if one of them is missing.

    >>> ask_and_answer(["Sl. No.", "Query of the customer", "Our reply"]), ask_and_answer(["Date of reply", "Query"])
    ((1, 2), None)
    """
    found = [words_in(name) | {column(name)} for name in names]
    asked, answered = (next((at for at, words in enumerate(found) if words & wanted), None) for wanted in (
        _table()["questions"] | {"questions", "faq"}, _table()["replies_to"] | {"answers"}))
    return None if asked is None or answered in (None, asked) else (asked, answered)


def rates(name: str) -> bool:
    """Whether a column may say how good the answer of its row is."""
    return column(name) in _table()["ratings"] or column(name).endswith("_rating")


def judges(name: str) -> bool:
    """Whether a column may say about an answer that it is good or bad: "Was it helpful?", "सही/गलत"."""
    return _has_word(name, _table()["judges"])


def _has_word(name: str, words: frozenset[str]) -> bool:
    return not words.isdisjoint(_plain(name).split("_"))


