"""Whether a question and its answer hold: each check by itself, with a code, against the passage that they come from.

All of them are made so that a doubt costs a row, and no doubt costs nothing: what is left out can be taken back by a
person. The checks don't understand what is said. An answer that turns a sentence around ("must" for "must not") in the
sentence's own words passes them, and so does a wrong choice among names that are all in the quotation.
"""

from __future__ import annotations

import functools
import json
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from slmstudio.core import paths
from slmstudio.core.data.languages import LATIN, guess
from slmstudio.core.evaluation.scores.matching import numbers, words
from slmstudio.core.i18n import noop
from slmstudio.core.units import plain_digits

DOUBTS = {
    "empty": noop("The question or the answer is empty"),
    "malformed": noop("The teacher's output can't be read"),
    "too_long": noop("It is too long, or was cut off"),
    "wrong_language": noop("It is in another language"),
    "needs_passage": noop("The question can't be understood on its own"),
    "quotation_missing": noop("The quotation isn't in the document"),
    "number_missing": noop("A number isn't in the quotation"),
    "name_missing": noop("A name isn't in the document"),
    "unsupported": noop("Most of its words aren't in the document"),
    "obeys_document": noop("The document gives orders to the model"),
    "near_duplicate": noop("Nearly the same question was asked before"),
    "not_repeated": noop("From the quotation alone, the teacher answers differently"),
    "answerable": noop("The document does answer it"),
}
"""Why a pair is left out, by its code."""
NOT_STATED = "NOT STATED"
"""What a teacher writes that can't answer from a text."""
MOST_QUESTION, MOST_ANSWER = 400, 1200
"""Characters."""
FEWEST_WORDS = 3
"""Of a question that can be understood, and of a quotation that says something."""
SUPPORTED, ASKED, SAME = 0.5, 0.34, 0.5
"""Share of the longer words that must be in the document, of an answer and of a question; overlap (F1) of two answers
that are the same."""
ALIKE = 0.75
"""Share of common words (Jaccard) from which two questions are nearly the same."""
LONG = 4
"""Letters of a word that counts as content, and by which inflected forms are compared."""
_PLAIN = (("‘’‚‛′`´", "'"), ("“”„‟″«»", '"'), ("‐‑‒–—―−", "-"))
_QUOTES = {ord(sign): plain for signs, plain in _PLAIN for sign in signs}
_NAME = re.compile(r"[^\W\d_][\w&./-]*[\w&]|[^\W\d_]")
_CLUSTER = re.compile(r"\s+|\S[^\w\s!-~]*")
"""A space, or a letter with the marks on it."""
_SENTENCE_START = re.compile(r"(?:^|[.!?:।]\s+|\n)\W*$")


@functools.cache
def phrases() -> dict[str, Any]:
    """resources/documents/phrases.json: words for numbers, how questions lean on a text, how texts give orders."""
    found: dict[str, Any] = json.loads((paths.resources() / "documents" / "phrases.json").read_text(encoding="utf-8"))
    return found


@functools.cache
def _patterns(name: str) -> re.Pattern[str]:
    found = phrases()[name]
    listed = found if isinstance(found, list) else [each for own in found.values() for each in own]
    return re.compile("|".join(f"(?:{each})" for each in listed), re.IGNORECASE)


def plain(text: str) -> str:
    """A text in one form: NFKC, digits of every script as 0 to 9, plain quotation marks and dashes, single spaces, and
    no characters without a shape. Letters and their case stay.

    >>> plain("शुल्क  १२५\\u200b रुपये – “केवल”")
    'शुल्क 125 रुपये - "केवल"'
    """
    text = plain_digits(unicodedata.normalize("NFKC", text)).translate(_QUOTES)
    return " ".join("".join(each for each in text if unicodedata.category(each) != "Cf").split())


def find(quotation: str, text: str) -> tuple[int, int] | None:
    """Where a text has a quotation, apart from what `plain` makes equal: (begin, end), so that it can be shown."""
    signs, places = [], []
    for match in _CLUSTER.finditer(text):
        for sign in plain(match[0]) or (" " if match[0].isspace() else ""):
            signs.append(sign)
            places.append(match.span())
    wanted = plain(quotation)
    at = "".join(signs).find(wanted) if wanted else -1
    return None if at < 0 else (places[at][0], places[at + len(wanted) - 1][1])


@dataclass(frozen=True)
class Draft:
    """What a teacher wrote.

    Attributes:
        is_cut: whether it was still writing when it was stopped.
    """

    kind: str
    language: str
    question: str
    answer: str
    quotation: str
    is_cut: bool = False


def check(draft: Draft, passage: str, heading: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Codes of what is wrong with a pair by itself; of `DOUBTS`, in that order."""
    whole = plain(f"{' '.join(heading)} {passage}")
    found = {code for code, is_wrong in _CHECKS.items() if is_wrong(draft, whole, plain(passage))}
    return tuple(code for code in DOUBTS if code in found)


def _is_empty(draft: Draft, whole: str, passage: str) -> bool:
    return not all(any(map(str.isalnum, text)) for text in (draft.question, draft.answer))


def _is_too_long(draft: Draft, whole: str, passage: str) -> bool:
    return draft.is_cut or len(draft.question) > MOST_QUESTION or len(draft.answer) > MOST_ANSWER


def _is_in_another_language(draft: Draft, whole: str, passage: str) -> bool:
    """By script; English also by its short words. An answer of few words may be a name or a figure."""
    texts = [draft.question, *([draft.answer] if len(words(draft.answer)) > FEWEST_WORDS else [])]
    wanted = draft.language.partition("-")[0]
    for text in texts:
        found = guess(text)
        if found in (None, wanted):
            continue
        scripts = _script_of_language(wanted)
        if scripts != _script_of_language(found or ""):
            return True
        if scripts == "Latin" and wanted == "en" and text is draft.question:
            return True
        if scripts == "Latin" and wanted != "en" and found == "en":
            return True
    return False


@functools.cache
def _script_of_language(code: str) -> str:
    from slmstudio.core.model.token_guess import LANGUAGES

    if code == LATIN:
        return "Latin"
    return next((script for script, codes in LANGUAGES.items() if code in codes.split()), "Latin")


def _leans_on_passage(draft: Draft, whole: str, passage: str) -> bool:
    question = plain(draft.question)
    return len(words(question)) < FEWEST_WORDS or _patterns("needs_passage").search(question) is not None


def _has_other_quotation(draft: Draft, whole: str, passage: str) -> bool:
    wanted = plain(draft.quotation)
    if len(words(wanted)) < FEWEST_WORDS and wanted != passage:
        return True
    at = passage.find(wanted)
    while at >= 0:
        if not _is_inside_word(passage, at) and not _is_inside_word(passage, at + len(wanted)):
            return False
        at = passage.find(wanted, at + 1)
    return True


def _is_inside_word(text: str, at: int) -> bool:
    return at > 0 and all(each.isalnum() or unicodedata.category(each)[0] == "M" for each in text[at - 1:at + 1]) and (
        at < len(text))


def _values(text: str) -> set[Fraction]:
    """The numbers of a text, also those in words that `phrases` knows."""
    table = phrases()["numbers"]
    return {abs(each.value) for each in numbers(text)} | {Fraction(table[each]) for each in words(text)
                                                           if each in table}


def _has_other_number(draft: Draft, whole: str, passage: str) -> bool:
    if draft.kind == "unanswerable":
        return False
    quoted, asked = _values(draft.quotation), _values(draft.question)
    return not _values(draft.answer) <= quoted | asked or not asked <= _values(whole)


def _has_other_name(draft: Draft, whole: str, passage: str) -> bool:
    """Whether a name of the question or the answer is missing: what is written with a capital letter inside a sentence,
    in capitals, or with digits in it; in other scripts, what is in Latin letters."""
    if guess(draft.answer) in ("en", LATIN) and guess(passage) not in ("en", LATIN):
        return False  # it is translated: names are spelt otherwise
    known = set(words(whole))
    texts = (draft.question,) if draft.kind == "unanswerable" else (draft.question, draft.answer)
    wanted = {word for text in texts for name in _names(plain(text)) for word in words(name)}
    return any(known.isdisjoint((word, f"{word}s", word.removesuffix("s"))) for word in wanted)


def _names(text: str) -> list[str]:
    is_latin = guess(text) in ("en", LATIN, None)
    found = []
    for match in _NAME.finditer(text):
        word, has_digit = match[0], any(map(str.isdigit, match[0]))
        if not word[0].isascii() or (word.isalpha() and len(word) < 2):
            continue
        starts = _SENTENCE_START.search(text, 0, match.start()) is not None
        if not is_latin or has_digit or (word.isupper() and len(word) > 1) or (word[0].isupper() and not starts):
            found.append(word)
    return found


def _has_other_words(draft: Draft, whole: str, passage: str) -> bool:
    """Whether most longer words of the question aren't in the document, or most of the answer's are in neither; of
    another script that can't be said."""
    scripts = [_script_of_language(guess(text) or LATIN) for text in (draft.answer, passage)]
    if draft.kind == "unanswerable" or scripts[0] != scripts[1]:
        return False
    known = {each[:LONG] for each in words(whole)}
    asked, answered = ([each[:LONG] for each in words(text) if len(each) >= LONG]
                       for text in (draft.question, draft.answer))
    return sum(each in known for each in asked) < ASKED * len(asked) or (
        sum(each in known or each in asked for each in answered) < SUPPORTED * len(answered))


def _gives_orders(draft: Draft, whole: str, passage: str) -> bool:
    """Whether the passage speaks to a model. All that is made of it is left to a person: it can't be told what of it
    obeys."""
    orders = _patterns("orders")
    return any(orders.search(plain(text)) for text in (whole, draft.question, draft.answer))


_CHECKS: dict[str, Callable[[Draft, str, str], bool]] = {
    "empty": _is_empty, "too_long": _is_too_long, "wrong_language": _is_in_another_language,
    "needs_passage": _leans_on_passage, "quotation_missing": _has_other_quotation, "number_missing": _has_other_number,
    "name_missing": _has_other_name, "unsupported": _has_other_words, "obeys_document": _gives_orders,
}


def is_repeated(answer: str, again: str) -> bool:
    """Whether a second answer, given from the quotation alone, says the same: it has the first one's numbers, and most
    of the words of both are in common."""
    if states_nothing(again) or not _values(answer) <= _values(again):
        return False
    one, two = ({each[:LONG] for each in words(text)} for text in (answer, again))
    return bool(one) and 2 * len(one & two) >= SAME * (len(one) + len(two))


def states_nothing(answer: str) -> bool:
    """Whether a teacher says that a text doesn't answer a question."""
    return NOT_STATED in " ".join(answer.upper().split()) or not any(map(str.isalnum, answer))


class Questions:
    """The questions so far: finds one that is nearly the same."""

    def __init__(self) -> None:
        self._words: list[frozenset[str]] = []
        self._values: list[set[Fraction]] = []
        self._by_word: dict[str, list[int]] = defaultdict(list)

    def is_known(self, question: str) -> bool:
        """Whether an earlier one has nearly the same words, and the same numbers."""
        own, values = frozenset(words(question)), _values(question)
        # Two sets that have 3/4 in common share one of any quarter of their words; rare ones are quick to look up.
        rare = sorted(own, key=lambda word: len(self._by_word.get(word, ())))
        near = {at for word in rare[:len(own) // 4 + 1] for at in self._by_word.get(word, ())}
        return any(len(own & self._words[at]) >= ALIKE * len(own | self._words[at]) and values == self._values[at]
                   for at in near)

    def add(self, question: str) -> None:
        own = frozenset(words(question))
        for word in own:
            self._by_word[word].append(len(self._words))
        self._words.append(own)
        self._values.append(_values(question))
