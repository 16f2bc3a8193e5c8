"""Rows that are nearly the same as an earlier one: MinHash proposes pairs, and the exact Jaccard index decides.

Rows are compared as sets of shingles: each five words in a row of what is said, without system messages and tools, in
NFC and small letters. In scripts that put no spaces between words, each character counts as a word.
"""

from __future__ import annotations

import re
import unicodedata
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from slmstudio.core.data.health.pulse import Pulse
from slmstudio.core.data.record import Record

SHINGLE = 5
THRESHOLD = 0.8
LEAST_IN_COMMON = 0.5
PERMUTATIONS, BANDS, BAND_ROWS = 128, 21, 6
"""A pair with a Jaccard index of 0.8 shares one of 21 bands of 6 values with a probability of
1 − (1 − 0.8⁶)²¹ = 99.8%, one with 0.3 in 1.5% of cases."""
ESTIMATED = 64
LEAST_ESTIMATE = 0.62
"""The share of the 64 values kept for each row that must agree before texts are compared. For a pair at 0.8 it varies
by 0.05, so one in 5,000 pairs is missed."""
CHUNK, CHUNK_WORDS = 500, 50_000
TAIL, LOOKED_AT = 200, 20
"""Rows of a band, and the best of all candidates, that a row is compared with at most. It matters where thousands of
rows are made from one template and none is a near-duplicate: all pairs would take days."""
SEED = 42
_SINGLE = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff"
UNSPACED = re.compile(rf"[{_SINGLE}]|[^\s{_SINGLE}]+")
"""Words, where Thai, Lao, Burmese, Khmer, Japanese and Chinese characters are words by themselves."""
_PRIME = np.uint64(0x9E3779B97F4A7C15)
Hashes = NDArray[np.uint64]


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
    signatures, bands = _sketches(records, indices, pulse)
    search = _Search(records, indices, signatures, *_company(bands, pulse))
    for row in search.rows_with_company():
        pulse.ask()
        search.look_at(row)
    return search.partners


def shingles(record: Record) -> frozenset[int]:
    """Hashes of the row's shingles."""
    hashes, _ = _shingle_hashes([_words(record)])
    return frozenset(hashes.tolist())


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


def _words(record: Record) -> list[str]:
    return _split(_normalised("\n".join(_spoken(record))))


def _shingle_hashes(rows: list[list[str]]) -> tuple[Hashes, Hashes]:
    """(hashes of all rows' shingles one after the other, where each row begins and the last ends).

    Words count by their CRC-32, which is the same in every process, so that the same rows are found each time. A row
    of fewer than five words has one shingle.
    """
    lengths = np.array([max(SHINGLE, len(words)) for words in rows], dtype=np.int64)
    flat = np.zeros(int(lengths.sum()), dtype=np.uint64)
    place = 0
    for words, length in zip(rows, lengths.tolist(), strict=True):
        flat[place:place + len(words)] = [crc32(word.encode("utf-8", "surrogatepass")) for word in words]
        place += length
    ends = np.cumsum(lengths)
    mixed = np.zeros(max(0, len(flat) - SHINGLE + 1), dtype=np.uint64)
    for offset in range(SHINGLE):
        mixed = (mixed ^ flat[offset:offset + len(mixed)]) * _PRIME
        mixed ^= mixed >> np.uint64(29)
    whole = np.ones(len(mixed), dtype=bool)
    for back in range(1, SHINGLE):
        whole[(ends[:-1] - back)] = False  # would reach into the next row
    offsets = np.concatenate([[0], np.cumsum(lengths - SHINGLE + 1)])
    return mixed[whole], offsets.astype(np.uint64)


def _sketches(records: Sequence[Record], indices: list[int], pulse: Pulse) -> tuple[NDArray[np.uint16], Hashes]:
    """(64 values of each row's MinHash, hash of each of its bands), about 300 bytes a row."""
    from rensa import RMinHash

    signatures = np.zeros((len(indices), ESTIMATED), dtype=np.uint16)
    bands = np.zeros((len(indices), BANDS), dtype=np.uint64)
    place = 0
    for rows in _chunks(records, indices, pulse):
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(*_shingle_hashes(rows), PERMUTATIONS, SEED)
        values = np.array(matrix.to_rows(), dtype=np.uint32)
        here = slice(place, place + len(rows))
        signatures[here] = values[:, :ESTIMATED]
        for column in range(BAND_ROWS):
            bands[here] = (bands[here] ^ values[:, column:BANDS * BAND_ROWS:BAND_ROWS]) * _PRIME
            bands[here] ^= bands[here] >> np.uint64(29)
        place += len(rows)
    return signatures, bands


def _chunks(records: Sequence[Record], indices: list[int], pulse: Pulse) -> Iterator[list[list[str]]]:
    """The words of some rows at a time."""
    rows: list[list[str]] = []
    words = 0
    for index in indices:
        rows.append(_words(records[index]))
        words += len(rows[-1])
        pulse.step(len(rows[-1]) * 5)
        if len(rows) == CHUNK or words > CHUNK_WORDS:
            yield rows
            rows, words = [], 0
    if rows:
        yield rows


class _Search:
    """Looks at rows one after the other and keeps those that aren't near one already kept.

    Attributes:
        partners: index of each row that is near a kept one → index of that one.
    """

    def __init__(self, records: Sequence[Record], indices: list[int], signatures: NDArray[np.uint16],
                 rows: NDArray[np.int32], groups: NDArray[np.int32]):
        self.partners: dict[int, int] = {}
        self._records = records
        self._indices = indices
        self._signatures = signatures
        self._kept: dict[int, list[int]] = {}
        self._sets: OrderedDict[int, frozenset[int]] = OrderedDict()
        self._rows, self._groups = rows, groups

    def rows_with_company(self) -> list[int]:
        """Places of the rows that share a band with another, ascending."""
        return list(map(int, np.unique(self._rows)))

    def look_at(self, row: int) -> None:
        """Keep the row, or find the kept row that it is near to."""
        first, last = np.searchsorted(self._rows, [row, row + 1])
        groups = self._groups[first:last].tolist()
        candidates = sorted({other for group in groups for other in self._kept.get(group, ())[-TAIL:]})
        for other in self._likely(row, candidates):
            if self._near(row, other):
                self.partners[self._indices[row]] = self._indices[other]
                return
        for group in groups:
            self._kept.setdefault(group, []).append(row)

    def _likely(self, row: int, candidates: list[int]) -> list[int]:
        if not candidates:
            return []
        others = np.array(candidates)
        estimates = (self._signatures[others] == self._signatures[row]).mean(axis=1)
        best = np.argsort(-estimates, kind="stable")[:LOOKED_AT]
        return list(map(int, others[best[estimates[best] >= LEAST_ESTIMATE]]))

    def _near(self, row: int, other: int) -> bool:
        one, two = self._shingles(row), self._shingles(other)
        common = len(one & two)
        if common < THRESHOLD * (len(one) + len(two) - common):
            return False
        return _differ_little(self._records[self._indices[row]], self._records[self._indices[other]])

    def _shingles(self, row: int) -> frozenset[int]:
        if row not in self._sets:
            self._sets[row] = shingles(self._records[self._indices[row]])
            if len(self._sets) > 2000:
                self._sets.popitem(last=False)
        return self._sets[row]


def _company(bands: Hashes, pulse: Pulse) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """(row, group) for each band that a row shares with others, by row; a group are the rows with the same band."""
    rows, groups = [], []
    number = 0
    for band in bands.T:
        pulse.ask()
        order = np.argsort(band, kind="stable").astype(np.int32)
        fresh = np.concatenate([[True], band[order[1:]] != band[order[:-1]]]) if len(order) else np.zeros(0, dtype=bool)
        group = np.cumsum(fresh) - 1
        shared = np.bincount(group)[group] > 1 if len(group) else fresh
        rows.append(order[shared])
        groups.append((group[shared] + number).astype(np.int32))
        number += len(order)
    by_row = np.argsort(np.concatenate(rows), kind="stable")
    return np.concatenate(rows)[by_row], np.concatenate(groups)[by_row]


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
