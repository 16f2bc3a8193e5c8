"""Answers that say little: stock phrases at their beginning or end, and single short words."""

from __future__ import annotations

import re

from slmstudio.core.data.health.texts import is_blank

_INTERJECTION = re.compile(
    r"\s*(?:(?:sure(?: thing)?|certainly|of course|absolutely|great question|good question|that(?:'|’)s a (?:great"
    r"|good) question|ज़?रूर"
    r"|बिल्कुल|बिलकुल|অবশ্যই|நிச்சயமாக|ఖచ్చితంగా|¡?claro|bien sûr)!"
    r"|(?:sure(?: thing)?|certainly|of course|absolutely|ज़?रूर|बिल्कुल|बिलकुल)[,.।]?(?=\s+(?:here(?:'|’)?s?\b|i(?:'"
    r"|’)d be|i would be|i can|i(?:'|’)ll"
    r"|let me|यहाँ|यहां|ये रहा|मैं)))\s*", re.IGNORECASE)
_CLOSING = re.compile(
    r"\W{0,3}(?:(?:i )?hope (?:this|that|it|these)\b.{0,40}\bhelp|(?:please )?let me know if (?:you|there|this)"
    r"|(?:please )?(?:do not|don(?:'|’)t) hesitate to"
    r"|(?:please )?feel free to (?:ask|reach|contact|let me)|if you have any (?:other |more |further "
    r"|additional )?(?:question|quer)"
    r"|is there anything else|happy (?:coding|learning|cooking|writing)"
    r"|(?:मुझे )?(?:उम्मीद|आशा) है (?:कि )?.{0,40}(?:मदद|सहाय|उपयोगी)|(?:अगर|यदि) आपके? (?:कोई|और|पास).{0,40}(?:सवाल"
    r"|प्रश्न).{0,60}(?:पूछ|बता)"
    r"|আশা করি.{0,40}(?:সাহায্য|সহায়)|espero que (?:esto|isso).{0,20}(?:ayud|ajud)|j(?:'|’)espère que cela)",
    re.IGNORECASE)
_SENTENCE = re.compile(r"\s*([^\n]{1,300}?[.!?।۔。！？:]|[^\n]{1,300})(?=\s)")
ASCII_ENDS = ("\n", ". ", "! ", "? ")
ENDS = (*ASCII_ENDS, "। ", "।\n", "۔ ", "。", "！", "？")
_DIGIT = re.compile(r"\d")
LAST = 400
"""Characters at the end among which the last sentence begins."""
LEAST_CHARACTERS = 20
_UNSPACED = re.compile("[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


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
