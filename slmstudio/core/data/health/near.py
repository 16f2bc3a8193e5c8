"""Rows and texts that are nearly the same: MinHash proposes pairs, the exact Jaccard index of their shingles decides.

Broder 1997, "On the resemblance and containment of documents"; bands as in Leskovec, Rajaraman and Ullman, "Mining of
Massive Datasets", chapter 3.4. A shingle is five tokens in a row. Rows are compared by the words of what is spoken,
without system messages and tools, in NFC and small letters; in scripts that put no spaces between words, each character
counts as a word.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from slmstudio.core.data.health.progress import CancellableProgress
from slmstudio.core.data.record import Record

THRESHOLD = 0.8
"""The Jaccard index from which two texts are nearly the same."""
LEAST_IN_COMMON = 0.5
SHINGLE = 5
PERMUTATIONS, BANDS, BAND_ROWS = 128, 21, 6
"""A pair with a Jaccard index of 0.8 shares one of 21 bands of 6 values with a probability of
1 − (1 − 0.8⁶)²¹ = 99.8%, one with 0.3 in 1.5% of cases."""
ESTIMATED = 64
LEAST_ESTIMATE = 0.62
"""The share of the 64 values kept for each text that must agree before texts are compared. For a pair at 0.8 it varies
by 0.05, so one in 5,000 pairs is missed."""
CHUNK, CHUNK_TOKENS = 500, 50_000
TAIL, LOOKED_AT = 200, 20
"""Texts of a band, and the best of all candidates, that a text is compared with at most. It matters where thousands
are made from one template and none is a near-duplicate: all pairs would take days."""
REMEMBERED = 2000
SEED = 42
_PRIME = np.uint64(0x9E3779B97F4A7C15)
_SINGLE = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff"
UNSPACED = re.compile(rf"[{_SINGLE}]|[^\s{_SINGLE}]+")
"""Words, where Thai, Lao, Burmese, Khmer, Japanese and Chinese characters are words by themselves."""
Hashes = NDArray[np.uint64]
Tokens = Sequence[int] | NDArray[np.uint32]


def near_duplicates(records: Sequence[Record], left_out: set[int], progress: CancellableProgress) -> dict[int, int]:
    """Index of each row that is nearly the same as an earlier row → index of that row, which itself is none.

    Nearly the same are rows whose shingles have a Jaccard index of 0.8 or more. And of the lines that only one of both
    has, at least half of the words must be in common, of questions as of answers: two questions about one long passage
    aren't the same row.

    Args:
        records: all rows.
        left_out: indices of rows that aren't looked at.
        progress: counts each row, and raises `ReadingCancelled` where the user asked to end.
    """
    indices = [index for index, record in enumerate(records)
               if index not in left_out and any(text and not text.isspace() for text in _spoken(record))]

    def tokens() -> Iterator[list[int]]:
        for index in indices:
            found = _tokens(records[index])
            progress.step(len(found) * 5)
            yield found

    search = Search(Sketches.of(tokens(), len(indices)), lambda row: _tokens(records[indices[row]]), progress.ask)
    partners: dict[int, int] = {}
    for row in search.rows():
        progress.ask()
        index = indices[row]
        near = next((indices[other] for other, _ in search.like(row)
                     if _differ_little(records[index], records[indices[other]])), None)
        if near is None:
            search.keep(row)
        else:
            partners[index] = near
    return partners


def _spoken(record: Record) -> list[str]:
    """What is compared: a long system message that all rows share would make them all alike."""
    texts = [message["content"] for message in record.messages if message["role"] in ("user", "assistant")]
    return [*texts, *(text for text in (record.rejected, record.text) if text is not None)]


def _normalised(text: str) -> str:
    return (text if text.isascii() else unicodedata.normalize("NFC", text)).casefold()


def _split(text: str) -> list[str]:
    return text.split() if text.isascii() else UNSPACED.findall(text)


def _tokens(record: Record) -> list[int]:
    """The CRC-32 of each word, which is the same in every process, so that the same rows are found each time."""
    return [crc32(word.encode("utf-8", "surrogatepass")) for word in _split(_normalised("\n".join(_spoken(record))))]


def _differ_little(one: Record, two: Record) -> bool:
    """Whether the lines that only one of both has are about the same: questions', answers', and rejected ones."""
    if one.desirable != two.desirable:
        return False
    for lines, others in zip(_lines(one), _lines(two), strict=True):
        words, more = ({word for line in own for word in _split(line)} for own in (lines - others, others - lines))
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


def characters(text: str) -> NDArray[np.uint32]:
    """The characters of a text as tokens."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def similarity(one: Tokens, other: Tokens) -> float:
    """The Jaccard index of the shingles of two texts, 0 to 1."""
    return _jaccard(_shingles(one), _shingles(other))


def _shingles(tokens: Tokens) -> frozenset[int]:
    return frozenset(_hashes([tokens])[0].tolist())


def _jaccard(one: frozenset[int], other: frozenset[int]) -> float:
    common = len(one & other)
    return common / (len(one) + len(other) - common)


class Sketches(NamedTuple):
    """Of each text 64 values of its MinHash, and a hash of each of its bands: about 300 bytes."""

    signatures: NDArray[np.uint16]
    bands: Hashes

    @classmethod
    def of(cls, texts: Iterable[Tokens], count: int) -> Sketches:
        """
        Args:
            texts: the tokens of each text, of which some are held at a time.
            count: how many texts there are.
        """
        from rensa import RMinHash

        found = cls(np.zeros((count, ESTIMATED), np.uint16), np.zeros((count, BANDS), np.uint64))
        place = 0
        for chunk in _chunks(texts):
            matrix = RMinHash.digest_matrix_from_flat_token_hashes(*_hashes(chunk), PERMUTATIONS, SEED)
            values = np.array(matrix.to_rows(), dtype=np.uint32)
            here = slice(place, place + len(chunk))
            found.signatures[here] = values[:, :ESTIMATED]
            for column in range(BAND_ROWS):
                found.bands[here] = _mixed(found.bands[here], values[:, column:BANDS * BAND_ROWS:BAND_ROWS])
            place += len(chunk)
        return found


class Search:
    """Finds texts that are like one of those kept so far.

    Args:
        tokens: gives those of a text by its place.
        ask: called now and then; it raises where the user asked to end.
    """

    def __init__(self, sketches: Sketches, tokens: Callable[[int], Tokens], ask: Callable[[], None]):
        self._shingles = lru_cache(REMEMBERED)(lambda row: _shingles(tokens(row)))
        self._signatures = sketches.signatures
        self._kept: dict[int, list[int]] = {}
        self._rows, self._groups = _shared_bands(sketches.bands, ask)

    def rows(self) -> list[int]:
        """Places of the texts that share a band with another, ascending."""
        return list(map(int, np.unique(self._rows)))

    def keep(self, row: int) -> None:
        """Compare those that come later with this one, too."""
        for group in self._groups_of(row):
            self._kept.setdefault(group, []).append(row)

    def like(self, row: int) -> Iterator[tuple[int, float]]:
        """Kept texts that are nearly the same, and their Jaccard index; those that seem most alike first."""
        candidates = sorted({other for group in self._groups_of(row) for other in self._kept.get(group, ())[-TAIL:]})
        if not candidates:
            return
        others = np.array(candidates)
        estimates = (self._signatures[others] == self._signatures[row]).mean(axis=1)
        best = np.argsort(-estimates, kind="stable")[:LOOKED_AT]
        for other in map(int, others[best[estimates[best] >= LEAST_ESTIMATE]]):
            if (share := _jaccard(self._shingles(row), self._shingles(other))) >= THRESHOLD:
                yield other, share

    def _groups_of(self, row: int) -> Any:
        first, last = np.searchsorted(self._rows, [row, row + 1])
        return self._groups[first:last].tolist()


def _chunks(texts: Iterable[Tokens]) -> Iterator[list[Tokens]]:
    chunk: list[Tokens] = []
    tokens = 0
    for text in texts:
        chunk.append(text)
        tokens += len(text)
        if len(chunk) == CHUNK or tokens > CHUNK_TOKENS:
            yield chunk
            chunk, tokens = [], 0
    if chunk:
        yield chunk


def _mixed(hashes: Hashes, values: Any) -> Hashes:
    hashes = (hashes ^ values) * _PRIME
    hashes ^= hashes >> np.uint64(29)
    return hashes


def _hashes(texts: Sequence[Tokens]) -> tuple[Hashes, Hashes]:
    """(hashes of all texts' shingles one after the other, where each text begins and the last ends). A text of fewer
    than five tokens has one shingle."""
    lengths = [max(SHINGLE, len(text)) for text in texts]
    ends = np.cumsum(lengths)
    flat = np.zeros(ends[-1], dtype=np.uint64)
    for text, end, length in zip(texts, ends.tolist(), lengths, strict=True):
        flat[end - length:end - length + len(text)] = text
    hashes = np.zeros(len(flat) - SHINGLE + 1, dtype=np.uint64)
    for offset in range(SHINGLE):
        hashes = _mixed(hashes, flat[offset:offset + len(hashes)])
    whole = np.ones(len(hashes), dtype=bool)
    for back in range(1, SHINGLE):
        whole[ends[:-1] - back] = False  # would reach into the next text
    offsets = np.concatenate([[0], ends - (SHINGLE - 1) * np.arange(1, len(ends) + 1)])
    return hashes[whole], offsets.astype(np.uint64)


def _shared_bands(bands: Hashes, ask: Callable[[], None]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """(row, group) for each band that a text shares with others, by row; a group are those with the same band."""
    rows, groups, number = [], [], 0
    for band in bands.T:
        ask()
        _, group, counts = np.unique(band, return_inverse=True, return_counts=True)
        shared = np.flatnonzero(counts[group] > 1)
        rows.append(shared.astype(np.int32))
        groups.append((group[shared] + number).astype(np.int32))
        number += len(counts)
    by_row = np.argsort(np.concatenate(rows), kind="stable")
    return np.concatenate(rows)[by_row], np.concatenate(groups)[by_row]
