"""Which items of a test set the model has been trained on: what it says there is remembered, not learned."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np

from slmstudio.core.data.health.near import CancellableProgress, Tokens, differ_little, near_pairs
from slmstudio.core.data.record import Record
from slmstudio.core.evaluation.testset.item import TestItem
from slmstudio.core.i18n import ntr, tr

NEAR_WORDS = 0.6
"""Share of the words, weighted by rarity: questions made by one template aren't copies of each other."""
SHORTEST_NEAR = 20
"""Characters of a question that is looked for in other words; shorter ones are too easily alike."""
WHOLE_FILE = 0.95
"""Share of the items from which the test set is called the training data itself."""
WORDS = 13
"""A question that shares this many consecutive words with plain text counts as seen (Brown et al. 2020, appendix C)."""


@dataclass(frozen=True)
class Overlap:
    """What a test set shares with the training rows.

    Attributes:
        exact: ids of the items whose question was learned, apart from case, punctuation and spaces.
        near: ids of other items of which nearly the same was learned.
        items: how many the test set has.
        same_file: whether the test file is the training file, byte for byte.
    """

    exact: frozenset[int]
    near: frozenset[int]
    items: int
    same_file: bool = False

    @property
    def ids(self) -> frozenset[int]:
        return self.exact | self.near

    @property
    def is_training_data(self) -> bool:
        """Whether the test set as a whole is what was learned."""
        return self.same_file or (self.items > 0 and len(self.ids) >= WHOLE_FILE * self.items)

    def sentence(self) -> str:
        """For people; empty if nothing was found."""
        if self.same_file:
            return tr("The test file is the training file itself: scores show what was remembered, not what was "
                      "learned.")
        if self.is_training_data:
            return tr("{hits:,} of {rows:,} test rows are among the training rows: scores show what was remembered, "
                      "not what was learned.", hits=len(self.ids), rows=self.items)
        if not self.ids:
            return ""
        parts = ([tr("{count:,} word for word", count=len(self.exact))] * bool(self.exact)
                 + [tr("{count:,} almost the same", count=len(self.near))] * bool(self.near))
        return ntr("The model was trained on {n:,} of {rows:,} test rows ({parts}). Scores are shown without it, too.",
                   "The model was trained on {n:,} of {rows:,} test rows ({parts}). Scores are shown without them, "
                   "too.",
                   len(self.ids), rows=self.items, parts=", ".join(parts))


def find_overlap(items: Sequence[TestItem], records: Sequence[Record], same_file: bool = False,
                 cancelled: Callable[[], bool] | None = None) -> Overlap:
    """Look for each item's question among the questions that were learned.

    Args:
        records: the rows that were learned; not those that were split off.
        same_file: whether both files have one SHA-256.

    Raises:
        ReadingCancelled: `cancelled` returned True.
    """
    progress = CancellableProgress(0, cancelled=cancelled)
    learned: set[str] = set()
    for record in records:
        progress.ask()
        learned.update(_keys(record))
    exact = frozenset(item.id for item in items if not learned.isdisjoint(map(plain, _questions(item))))
    left = [item for item in items if item.id not in exact]
    near = frozenset((*_near(left, records, progress), *_in_text(left, records, progress)))
    return Overlap(exact, near, len(items), same_file)


def plain(text: str) -> str:
    """What two questions are compared by: NFC, without case, punctuation and superfluous spaces."""
    return " ".join(unicodedata.normalize("NFC", text).casefold().translate(_PUNCTUATION).split())


class _Punctuation(dict[int, int]):
    """Punctuation becomes a blank; found out once for each character. Signs such as + and = say something and stay."""

    def __missing__(self, code: int) -> int:
        self[code] = 32 if unicodedata.category(chr(code))[0] in "PC" else code
        return self[code]


_PUNCTUATION = _Punctuation()


def _questions(item: TestItem) -> list[str]:
    """What the user asks, and that without the passage below it: training may have left that out."""
    whole = "\n\n".join(message["content"] for message in item.messages if message["role"] == "user")
    return [whole, whole[:-item.below]] if item.below else [whole]


def _asked(record: Record) -> list[str]:
    return [message["content"] for message in record.messages if message["role"] == "user"]


def _keys(record: Record) -> Iterator[str]:
    """Every question that a row teaches to answer: each alone, with those before it, and its first line, below which
    choices may be."""
    asked = _asked(record)
    for number, text in enumerate(asked):
        yield plain(text)
        if number:
            yield plain("\n\n".join(asked[: number + 1]))
        first, _, rest = text.partition("\n")
        if rest and len(first) >= SHORTEST_NEAR and "\n\n" not in text:
            yield plain(first)


def _near(items: Sequence[TestItem], records: Sequence[Record], progress: CancellableProgress) -> Iterator[int]:
    """Ids of items whose questions share most of their shingles (5 characters) and rare words and all numbers with one
    that was learned: a problem with other numbers is another one, and so is another question about the same passage.
    """
    learned = dict.fromkeys(text for record in records if items for text in _asked(record))
    asked = [(item.id, text) for item in items for text in _questions(item)]
    texts = [(number, text, short) for number, text in (*((-1, text) for text in learned), *asked)
             if len(short := plain(text)) >= SHORTEST_NEAR]
    known = sum(number < 0 for number, *_ in texts)
    counts = Counter(word for _, _, short in texts[:known] for word in set(short.split()))

    def tokens(row: int) -> Tokens:
        """Characters, which are others where the numbers are."""
        numbers = " ".join(re.findall(r"\d+", texts[row][2]))
        return np.frombuffer(texts[row][2].encode("utf-32-le", "surrogatepass"), np.uint32) ^ np.uint32(
            crc32(numbers.encode()))

    def weight(words: set[str]) -> float:
        """The sum of the logarithms of the inverse document frequencies: "Translate into Hindi: good morning" and "...
        good evening" differ in the only word that matters among rows that all begin so."""
        return sum(math.log((known + 1) / max(1, counts[word])) for word in words)

    def accept(row: int, other: int) -> bool:
        ours, theirs = (set(texts[place][2].split()) for place in (row, other))
        return (weight(ours & theirs) >= NEAR_WORDS * weight(ours | theirs)
                and differ_little(texts[row][1], texts[other][1]))

    return (texts[row][0] for row, _ in near_pairs(tokens, len(texts), accept, progress, known))


def _in_text(items: Sequence[TestItem], records: Sequence[Record], progress: CancellableProgress) -> Iterator[int]:
    """Ids of items of which `WORDS` words in a row are in plain text that was learned."""
    wanted: dict[str, set[int]] = {}
    for item in items:
        for run in _runs(_questions(item)[0]):
            wanted.setdefault(run, set()).add(item.id)
    for record in records:
        progress.ask()
        for run in _runs(record.text or ""):
            yield from wanted.get(run, ())


def _runs(text: str) -> Iterator[str]:
    words = plain(text).split()
    return (" ".join(words[begin : begin + WORDS]) for begin in range(len(words) - WORDS + 1))
