"""Rows that are nearly the same as an earlier one.

Rows are compared as sets of shingles: each five words in a row of what is said, without system messages and tools, in
NFC and small letters. In scripts that put no spaces between words, each character counts as a word.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

from slmstudio.core.data.health import similarity
from slmstudio.core.data.health.pulse import Pulse
from slmstudio.core.data.record import Record

THRESHOLD = 0.8
LEAST_IN_COMMON = 0.5
_SINGLE = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff"
UNSPACED = re.compile(rf"[{_SINGLE}]|[^\s{_SINGLE}]+")
"""Words, where Thai, Lao, Burmese, Khmer, Japanese and Chinese characters are words by themselves."""


def near_duplicates(records: Sequence[Record], left_out: set[int], pulse: Pulse) -> dict[int, int]:
    """Index of each row that is nearly the same as an earlier row → index of that row, which itself is none.

    Nearly the same are rows whose shingles have a Jaccard index of 0.8 or more. And of the lines that only one of both
    has, at least half of the words must be in common, of questions as of answers: two questions about one long passage
    aren't the same row.

    Args:
        records: all rows.
        left_out: indices of rows that aren't looked at.
        pulse: counts each row, and raises `ReadingCancelled` where the user asked to end.
    """
    indices = [index for index in range(len(records)) if index not in left_out and _says_anything(records[index])]

    def tokens() -> Iterator[list[int]]:
        for index in indices:
            found = _tokens(records[index])
            pulse.step(len(found) * 5)
            yield found

    search = similarity.Search(similarity.Sketches.of(tokens(), len(indices)),
                               lambda row: _tokens(records[indices[row]]), pulse.ask)
    partners: dict[int, int] = {}
    for row in search.rows():
        pulse.ask()
        index = indices[row]
        near = next((indices[other] for other, _ in search.like(row, THRESHOLD)
                     if _differ_little(records[index], records[indices[other]])), None)
        if near is None:
            search.keep(row)
        else:
            partners[index] = near
    return partners


def _says_anything(record: Record) -> bool:
    return any(text and not text.isspace() for text in _spoken(record))


def _spoken(record: Record) -> list[str]:
    """What is compared: a long system message that all rows share would make them all alike."""
    texts = [message["content"] for message in record.messages if message["role"] in ("user", "assistant")]
    return [*texts, *(text for text in (record.rejected, record.text) if text is not None)]


def _normalised(text: str) -> str:
    return (text if text.isascii() else unicodedata.normalize("NFC", text)).casefold()


def _split(text: str) -> list[str]:
    return text.split() if text.isascii() else UNSPACED.findall(text)


def _tokens(record: Record) -> list[int]:
    return similarity.words(_split(_normalised("\n".join(_spoken(record)))))


def _differ_little(one: Record, two: Record) -> bool:
    """Whether the lines that only one of both has are about the same: questions', answers', and rejected ones."""
    if one.desirable != two.desirable:
        return False
    for lines, others in zip(_lines(one), _lines(two), strict=True):
        words, more = _words_of(lines - others), _words_of(others - lines)
        if words and more and len(words & more) < LEAST_IN_COMMON * len(words | more):
            return False
    return True


def _lines(record: Record) -> list[set[str]]:
    texts: dict[str, list[str]] = {"user": [record.text or ""], "assistant": [], "rejected": [record.rejected or ""]}
    for message in record.messages:
        if message["role"] in texts:
            texts[message["role"]].append(message["content"])
    return [{" ".join(line.split()) for text in some for line in _normalised(text).splitlines()}
            for some in texts.values()]


def _words_of(lines: set[str]) -> set[str]:
    return {word for line in lines for word in _split(line)}
