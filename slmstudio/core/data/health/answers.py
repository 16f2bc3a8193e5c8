"""Answers that say little: refusals, stock phrases at their beginning or end, and single short words."""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Sequence

from slmstudio.core.data.health.finding import Found
from slmstudio.core.data.health.kinds import WORDS, pattern
from slmstudio.core.data.health.texts import answers, is_blank
from slmstudio.core.data.record import Record

_INTERJECTION, _CLOSING = pattern("interjection"), pattern("closing")
_SENTENCE = pattern("first_sentence")
ASCII_ENDS = ("\n", ". ", "! ", "? ")
ENDS = (*ASCII_ENDS, "। ", "।\n", "۔ ", "。", "！", "？")
_DIGIT = re.compile(r"\d")
_SPEAKS_OF_ITSELF, _REFUSES = pattern("itself"), pattern("refusal")
"""Refusals count at the beginning of an answer alone: people in stories say these things too."""
_AI_WORDS = WORDS["words_of_itself"]
"""One of these is in every text that `_SPEAKS_OF_ITSELF` finds; looking for them is much quicker."""
_ASCII_AI_WORDS = tuple(filter(str.isascii, _AI_WORDS))
LAST = 400
"""Characters at the end among which the last sentence begins."""
LEAST_CHARACTERS = 20
_UNSPACED = pattern("characters_that_say_a_lot")
LABEL_ROWS = 3
"""A short answer in this many rows is a label ("yes", "ham")."""
SHORT_SHARE, SHORT_ROWS = 0.1, 10
"""If more rows than both have short answers, short answers are what the dataset is about."""
PHRASE_SHARE, PHRASE_ROWS = 0.002, 10
"""A sentence begins or ends this many different answers before it counts as a stock phrase."""


def opening(answer: str) -> str | None:
    """The answer's first sentence or line with something after it."""
    found = _SENTENCE.match(answer)
    return None if found is None or is_blank(answer[found.end():]) else found[1]


def ending(answer: str) -> str | None:
    """The answer's last sentence or line with something before it."""
    answer = answer.rstrip()
    base = max(0, len(answer) - LAST)
    start = max(answer.rfind(mark, base, -1) for mark in (ASCII_ENDS if answer.isascii() else ENDS))
    if start < 0:
        return None
    last = answer[start + 1:].lstrip()
    return None if is_blank(answer[:-len(last)]) else last


def folded(text: str) -> str:
    """The text in lower case with single blanks: what decides whether two sentences are the same."""
    return " ".join(text.casefold().split())


def is_long(sentence: str) -> bool:
    """Whether a sentence says enough to be a stock phrase: four words and twenty characters. Numbers don't count."""
    return (len(sentence) >= LEAST_CHARACTERS and sentence.count(" ") >= 3
            and not _DIGIT.search(sentence))


def interjection(answer: str) -> str | None:
    """What an assistant begins with before it answers ("Sure!"), with something after it."""
    found = _INTERJECTION.match(answer)
    return None if found is None or is_blank(answer[found.end():]) else found[0]


def is_closing(sentence: str) -> bool:
    """Whether a sentence is one that assistants end with after they answered ("I hope this helps!")."""
    return _CLOSING.match(sentence) is not None


def without_phrases(answer: str, frequent: frozenset[str]) -> str:
    """The answer without interjections, closings, and sentences of `frequent` (folded) at its beginning and end."""
    while True:
        first, last = opening(answer), ending(answer)
        if begun := interjection(answer):
            rest = answer[len(begun):].lstrip()
            answer = rest[0].upper() + rest[1:]
        elif last is not None and (is_closing(last) or folded(last) in frequent):
            answer = answer.rstrip()[:-len(last)].rstrip()
        elif first is not None and folded(first) in frequent:
            answer = answer.lstrip()[len(first):].lstrip()
        else:
            return answer


def is_short(answer: str, question: str) -> bool:
    """Whether an answer is one word of fewer than four characters, or has no word at all.

    It is fine with a digit in it (a number, a date), where the question has it as a word (the letter of a choice), and
    in Chinese, Japanese, Korean and Thai, where a few characters say a lot.
    """
    word = answer.strip().strip(".!?।\"'()")
    if (any(map(str.isalpha, word)) and len(word) >= 4) or len(word.split()) > 1:
        return False
    if _DIGIT.search(word) or _UNSPACED.search(word):
        return False
    return len(answer.strip()) < 12 and not (word and re.search(rf"(?<!\w){re.escape(word)}(?!\w)", question))


def refusal(answer: str) -> str | None:
    """What an assistant says about itself, or how it refuses, in English, fifteen languages of India and elsewhere."""
    found = _REFUSES.match(answer)
    if found is None and any(map(answer.casefold().__contains__, _ASCII_AI_WORDS if answer.isascii() else _AI_WORDS)):
        found = _SPEAKS_OF_ITSELF.search(answer)
    return None if found is None else found[0].strip()[:80]


class ShortAnswers:
    """Rows with short answers that aren't labels."""

    def __init__(self) -> None:
        self._rows, self._short = array("q"), array("q")

    def look(self, index: int, record: Record, given: list[str]) -> None:
        answer = given[-1] if given else ""
        if 0 < len(answer) < 40 and record.messages[-1]["content"] == answer and not is_blank(answer):
            question = "\n".join(message["content"] for message in record.messages[:-1])
            if is_short(answer, question):
                self._rows.append(index)
                self._short.append(hash(folded(answer)))

    def found(self, records: Sequence[Record]) -> Found:
        found, counts = Found(), Counter(self._short)
        if len(self._rows) <= max(SHORT_ROWS, SHORT_SHARE * len(records)):
            for row, answer in zip(self._rows, self._short, strict=True):
                if counts[answer] < LABEL_ROWS:
                    found.add(row, answers(records[row])[-1])
        return found


class StockPhrases:
    """Rows with answers that begin or end with a stock phrase; "phrases" are the frequent ones."""

    def __init__(self) -> None:
        self._known = Found()
        self._rows, self._openings, self._endings = array("q"), array("q"), array("q")
        self._seen: set[int] = set()
        self._phrases: Counter[int] = Counter()

    def look(self, index: int, record: Record, given: list[str]) -> None:
        for answer in given:
            first, last = opening(answer), ending(answer)
            phrase = interjection(answer) or (last if last is not None and is_closing(last) else None)
            if phrase is not None and self._known.rows[-1:] != [index]:
                self._known.add(index, phrase.strip()[:80])
            hashes = [hash(folded(sentence)) if sentence is not None and is_long(sentence) else 0
                      for sentence in (first, last)]
            if hashes != [0, 0]:
                self._rows.append(index)
                self._openings.append(hashes[0])
                self._endings.append(hashes[1])
                if (whole := hash(answer)) not in self._seen:
                    self._seen.add(whole)
                    self._phrases.update({each for each in hashes if each})

    def found(self, records: Sequence[Record]) -> Found:
        least = max(PHRASE_ROWS, PHRASE_SHARE * len(records))
        frequent = {phrase for phrase, count in self._phrases.items() if count >= least}
        rows = {row for row, first, last in zip(self._rows, self._openings, self._endings, strict=True)
                if first in frequent or last in frequent}
        phrases = Counter(folded(phrase) for row in sorted(rows) for answer in answers(records[row])
                          for phrase in {opening(answer), ending(answer)}
                          if phrase is not None and is_long(phrase) and hash(folded(phrase)) in frequent)
        found = Found(sorted(rows.union(self._known.rows)), self._known.detail)
        if phrases:
            found.detail["phrases"] = dict(phrases)
            found.detail.setdefault("example", max(phrases, key=phrases.__getitem__)[:80])
        return found
