"""Which items of a test set the model has been trained on: what it says there is remembered, not learned."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from zlib import crc32

from slmstudio.core.data.health.near import Search, Sketches, Tokens, characters, similarity
from slmstudio.core.data.health.progress import CancellableProgress
from slmstudio.core.data.record import Record
from slmstudio.core.evaluation.testset.item import TestItem
from slmstudio.core.i18n import ntr, tr

NEAR_PARAGRAPH = 0.6
"""Jaccard index of each paragraph's shingles: other questions to the same long passage aren't copies."""
NEAR_WORDS = 0.6
"""Share of the words, weighted by rarity: questions made by one template aren't copies of each other."""
SHORTEST_NEAR = 20
"""Characters of a question that is looked for in other words; shorter ones are too easily alike."""
WHOLE_FILE = 0.95
"""Share of the items from which the test set is called the training data itself."""
WORDS = 13
"""A question that shares this many consecutive words with plain text counts as seen (Brown et al. 2020, appendix C)."""


@dataclass(frozen=True, slots=True)
class Hit:
    """An item that was trained on.

    Attributes:
        line: of the test file.
        train_line: of the training file.
        similarity: 1.0 if the questions are the same apart from case, punctuation and spaces.
    """

    item: int
    line: int
    train_line: int
    similarity: float

    @property
    def is_exact(self) -> bool:
        return self.similarity == 1.0


@dataclass(frozen=True)
class Overlap:
    """What a test set shares with the training rows.

    Attributes:
        hits: one for each item that was found, in the test set's order.
        same_file: whether the test file is the training file, byte for byte.
    """

    hits: tuple[Hit, ...]
    items: int
    same_file: bool = False

    @property
    def ids(self) -> frozenset[int]:
        return frozenset(hit.item for hit in self.hits)

    @property
    def is_training_data(self) -> bool:
        """Whether the test set as a whole is what was learned."""
        return self.same_file or (self.items > 0 and len(self.hits) >= WHOLE_FILE * self.items)

    def sentence(self) -> str:
        """For people; empty if nothing was found."""
        exact = sum(hit.is_exact for hit in self.hits)
        near = len(self.hits) - exact
        if self.same_file:
            return tr("The test file is the training file itself: scores show what was remembered, not what was "
                      "learned.")
        if self.is_training_data:
            return tr("{hits:,} of {rows:,} test rows are among the training rows: scores show what was remembered, "
                      "not what was learned.", hits=len(self.hits), rows=self.items)
        if not self.hits:
            return ""
        parts = ([tr("{count:,} word for word", count=exact)] * bool(exact)
                 + [tr("{count:,} almost the same", count=near)] * bool(near))
        return ntr("The model was trained on {n:,} of {rows:,} test rows ({parts}). Scores are shown without it, too.",
                   "The model was trained on {n:,} of {rows:,} test rows ({parts}). Scores are shown without them, "
                   "too.",
                   len(self.hits), rows=self.items, parts=", ".join(parts))


def find_overlap(items: Sequence[TestItem], records: Sequence[Record], same_file: bool = False,
                 cancelled: Callable[[], bool] | None = None) -> Overlap:
    """Look for each item's question among the questions that were learned.

    The same are questions that differ in case, punctuation and spaces alone; near are those with most of their
    shingles (5 characters) in common and the same numbers. A problem with other numbers is another problem.

    Args:
        records: the rows that were learned; not those that were split off.
        same_file: whether both files have one SHA-256.

    Raises:
        ReadingCancelled: `cancelled` returned True.
    """
    ask = CancellableProgress(0, cancelled=cancelled).ask
    known: dict[str, int] = {}
    for record in records:
        ask()
        for key in _keys(record):
            known.setdefault(key, record.line)
    hits = {item.id: Hit(item.id, item.line, known[key], 1.0)
            for item in items for key in map(plain, reversed(_questions(item))) if key in known}
    left = [item for item in items if item.id not in hits]
    for hit in (*_near(left, records, ask), *_in_text(left, records, ask)):
        hits.setdefault(hit.item, hit)
    return Overlap(tuple(hits[item.id] for item in items if item.id in hits), len(items), same_file)


def plain(text: str) -> str:
    """What two questions are compared by: NFC, without case, punctuation and superfluous spaces."""
    return " ".join(unicodedata.normalize("NFC", text).casefold().translate(_PUNCTUATION).split())


class _Punctuation(dict[int, int]):
    """Punctuation becomes a blank; found out once for each character. Signs such as + and = say something and stay."""

    def __missing__(self, code: int) -> int:
        self[code] = 32 if unicodedata.category(chr(code))[0] in "PC" else code
        return self[code]


_PUNCTUATION = _Punctuation()
_NUMBERS = re.compile(r"\d+")


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


def _near(items: Sequence[TestItem], records: Sequence[Record], ask: Callable[[], None]) -> Iterator[Hit]:
    queries = [(item, whole, text) for item in items for whole in _questions(item)
               if len(text := plain(whole)) >= SHORTEST_NEAR]
    learned = [(record.line, whole, text) for record in records for whole in dict.fromkeys(_asked(record))
               if len(text := plain(whole)) >= SHORTEST_NEAR]
    if not queries or not learned:
        return
    known = [text for *_, text in learned]
    share_words = _words_shared_among(known)
    for query, index, share in alike([text for *_, text in queries], known, ask):
        (item, whole, text), (line, other, _) = queries[query], learned[index]
        if share_words(text, known[index]) >= NEAR_WORDS and _same_paragraphs(whole, other):
            yield Hit(item.id, item.line, line, min(share, 0.999))


def alike(queries: Sequence[str], known: Sequence[str], ask: Callable[[], None] = lambda: None,
          ) -> Iterator[tuple[int, int, float]]:
    """The places of each query and each known text that are nearly the same and have the same numbers, and their
    Jaccard index; of a query those that are most alike first."""
    texts = [*known, *queries]

    def tokens() -> Iterator[Tokens]:
        for text in texts:
            ask()
            yield characters(text)

    sketches = Sketches.of(tokens(), len(texts))
    for bands, text in zip(sketches.bands, texts, strict=True):  # those with other numbers share no band
        bands ^= crc32(" ".join(_NUMBERS.findall(text)).encode()) << 16
    search = Search(sketches, lambda row: characters(texts[row]), ask)
    for row in search.rows():
        ask()
        if row < len(known):
            search.keep(row)
            continue
        for index, share in search.like(row):
            yield row - len(known), index, share


def _words_shared_among(texts: Sequence[str]) -> Callable[[str, str], float]:
    """How much two texts share of the words that few of `texts` have, 0 to 1: the weighted Jaccard index, where a word
    weighs the logarithm of its inverse document frequency.

    "Translate into Hindi: good morning" and "... good evening" differ in the only word that matters among rows that all
    begin so.
    """
    @lru_cache(maxsize=1)
    def counts() -> Counter[str]:
        return Counter(word for text in texts for word in set(text.split()))

    def weight(words: set[str]) -> float:
        return sum(math.log((len(texts) + 1) / max(1, counts()[word])) for word in words)

    def shared(left: str, right: str) -> float:
        ours, theirs = set(left.split()), set(right.split())
        together = weight(ours | theirs)
        return weight(ours & theirs) / together if together else 1.0

    return shared


def _same_paragraphs(left: str, right: str) -> bool:
    """Whether each paragraph is like its counterpart, where the texts have the same number of them."""
    ours, theirs = ([characters(plain(part)) for part in text.split("\n\n") if part.strip()] for text in (left, right))
    return len(ours) != len(theirs) or len(ours) == 1 or all(
        similarity(one, other) >= NEAR_PARAGRAPH for one, other in zip(ours, theirs, strict=True))


def _in_text(items: Sequence[TestItem], records: Sequence[Record], ask: Callable[[], None]) -> Iterator[Hit]:
    """Items of which `WORDS` words in a row are in plain text that was learned."""
    texts = [record for record in records if record.text is not None]
    wanted: dict[str, list[TestItem]] = {}
    for item in items if texts else ():
        for run in _runs(_questions(item)[0]):
            wanted.setdefault(run, []).append(item)
    for record in texts:
        ask()
        for run in _runs(record.text or ""):
            for item in wanted.pop(run, ()):
                yield Hit(item.id, item.line, record.line, 0.999)


def _runs(text: str) -> Iterator[str]:
    words = plain(text).split()
    return (" ".join(words[begin : begin + WORDS]) for begin in range(len(words) - WORDS + 1))
