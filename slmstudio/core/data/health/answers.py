"""Answers that say little: refusals, stock phrases at their beginning or end, and single short words."""

from __future__ import annotations

import re

from slmstudio.core.data.health.kinds import WORDS, pattern
from slmstudio.core.data.health.texts import Row, is_blank

_INTERJECTION, _CLOSING = pattern("interjection"), pattern("closing")
_SPEAKS_OF_ITSELF, _REFUSES = pattern("itself"), pattern("refusal")
"""Refusals count at the beginning of an answer alone: people in stories say these things too."""
_AI_WORDS = WORDS["words_of_itself"]
"""One of these is in every text that `_SPEAKS_OF_ITSELF` finds; looking for them is much quicker."""
_ASCII_AI_WORDS = tuple(filter(str.isascii, _AI_WORDS))
LAST = 400
"""Characters at the end among which the last sentence begins."""
_SAYS_A_LOT = pattern("says_a_lot")


def folded(text: str) -> str:
    """The text in lower case with single blanks: what decides whether two answers are the same."""
    return " ".join(text.casefold().split())


def without_phrases(answer: str) -> str:
    """The answer without what assistants say before it ("Sure!") and after it ("I hope this helps!")."""
    while True:
        begun = _INTERJECTION.match(answer)
        ended = _CLOSING.search(answer, max(0, len(answer) - LAST))
        if begun and not is_blank(rest := answer[begun.end():].lstrip()):
            answer = rest[0].upper() + rest[1:]
        elif ended and not is_blank(answer[:ended.start(1)]):
            answer = answer[:ended.start(1)].rstrip()
        else:
            return answer


def has_refusal(row: Row) -> bool:
    """Whether an assistant refuses or speaks of itself, in English, fifteen languages of India and elsewhere."""
    return any(map(is_refusal, row.answers))


def is_refusal(answer: str) -> bool:
    """Whether an assistant says this of itself, or refuses so."""
    if _REFUSES.match(answer):
        return True
    words = _ASCII_AI_WORDS if answer.isascii() else _AI_WORDS
    return any(map(answer.casefold().__contains__, words)) and _SPEAKS_OF_ITSELF.search(answer) is not None


def short_answer(row: Row) -> str | None:
    """The last answer, folded, if it is one word of fewer than four characters or has no word at all.

    It is fine with a digit in it (a number, a date), where the question has it as a word (the letter of a choice), and
    in Chinese, Japanese, Korean and Thai, where a few characters say a lot.
    """
    answer = row.answers[-1].strip() if row.answers else ""
    if len(answer) >= 12 or is_blank(answer) or row.record.messages[-1]["content"] != row.answers[-1]:
        return None
    word = answer.strip(".!?।\"'()")
    if (len(word) >= 4 and any(map(str.isalpha, word))) or len(word.split()) > 1 or _SAYS_A_LOT.search(word):
        return None
    question = "\n".join(message["content"] for message in row.record.messages[:-1])
    return None if word and re.search(rf"(?<!\w){re.escape(word)}(?!\w)", question) else folded(answer)
