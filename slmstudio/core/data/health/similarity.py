"""Texts that are nearly the same: MinHash proposes pairs, and the exact Jaccard index of their shingles decides.

Broder 1997, "On the resemblance and containment of documents"; bands as in Leskovec, Rajaraman and Ullman, "Mining of
Massive Datasets", chapter 3.4. Shingles are five words or characters in a row, whichever a text is given as.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

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
Hashes = NDArray[np.uint64]
Tokens = Sequence[int] | NDArray[np.uint32]


def words(texts: Iterable[str]) -> list[int]:
    """Words by their CRC-32, which is the same in every process, so that the same texts are found each time."""
    return [crc32(word.encode("utf-8", "surrogatepass")) for word in texts]


def characters(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def shingles(tokens: Tokens) -> frozenset[int]:
    """Hashes of the shingles of a text."""
    return frozenset(_hashes([tokens])[0].tolist())


def jaccard(one: frozenset[int], other: frozenset[int]) -> float:
    """What two sets share of all that they have, 0 to 1."""
    common = len(one & other)
    together = len(one) + len(other) - common
    return common / together if together else 0.0


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
                found.bands[here] = (found.bands[here] ^ values[:, column:BANDS * BAND_ROWS:BAND_ROWS]) * _PRIME
                found.bands[here] ^= found.bands[here] >> np.uint64(29)
            place += len(chunk)
        return found


class Search:
    """Finds texts that are like one of those kept so far.

    Args:
        tokens: gives those of a text by its place.
        ask: called now and then; it raises where the user asked to end.
    """

    def __init__(self, sketches: Sketches, tokens: Callable[[int], Tokens], ask: Callable[[], None]):
        self._tokens = tokens
        self._signatures = sketches.signatures
        self._kept: dict[int, list[int]] = {}
        self._sets: OrderedDict[int, frozenset[int]] = OrderedDict()
        self._rows, self._groups = _company(sketches.bands, ask)

    def rows(self) -> list[int]:
        """Places of the texts that share a band with another, ascending."""
        return list(map(int, np.unique(self._rows)))

    def keep(self, row: int) -> None:
        """Compare those that come later with this one, too."""
        for group in self._groups_of(row):
            self._kept.setdefault(group, []).append(row)

    def like(self, row: int, least: float) -> Iterator[tuple[int, float]]:
        """Kept texts with at least this Jaccard index, and that; those that seem most alike first."""
        candidates = sorted({other for group in self._groups_of(row) for other in self._kept.get(group, ())[-TAIL:]})
        if not candidates:
            return
        others = np.array(candidates)
        estimates = (self._signatures[others] == self._signatures[row]).mean(axis=1)
        best = np.argsort(-estimates, kind="stable")[:LOOKED_AT]
        for other in map(int, others[best[estimates[best] >= LEAST_ESTIMATE]]):
            if (share := jaccard(self._shingles(row), self._shingles(other))) >= least:
                yield other, share

    def _groups_of(self, row: int) -> Any:
        first, last = np.searchsorted(self._rows, [row, row + 1])
        return self._groups[first:last].tolist()

    def _shingles(self, row: int) -> frozenset[int]:
        if row not in self._sets:
            self._sets[row] = shingles(self._tokens(row))
            if len(self._sets) > REMEMBERED:
                self._sets.popitem(last=False)
        return self._sets[row]


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


def _hashes(texts: Sequence[Tokens]) -> tuple[Hashes, Hashes]:
    """(hashes of all texts' shingles one after the other, where each text begins and the last ends). A text of fewer
    than five tokens has one shingle."""
    lengths = np.array([max(SHINGLE, len(text)) for text in texts], dtype=np.int64)
    flat = np.zeros(int(lengths.sum()), dtype=np.uint64)
    place = 0
    for text, length in zip(texts, lengths.tolist(), strict=True):
        flat[place:place + len(text)] = text
        place += length
    ends = np.cumsum(lengths)
    mixed = np.zeros(max(0, len(flat) - SHINGLE + 1), dtype=np.uint64)
    for offset in range(SHINGLE):
        mixed = (mixed ^ flat[offset:offset + len(mixed)]) * _PRIME
        mixed ^= mixed >> np.uint64(29)
    whole = np.ones(len(mixed), dtype=bool)
    for back in range(1, SHINGLE):
        whole[(ends[:-1] - back)] = False  # would reach into the next text
    offsets = np.concatenate([[0], np.cumsum(lengths - SHINGLE + 1)])
    return mixed[whole], offsets.astype(np.uint64)


def _company(bands: Hashes, ask: Callable[[], None]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """(row, group) for each band that a text shares with others, by row; a group are those with the same band."""
    rows, groups = [], []
    number = 0
    for band in bands.T:
        ask()
        order = np.argsort(band, kind="stable").astype(np.int32)
        fresh = np.concatenate([[True], band[order[1:]] != band[order[:-1]]]) if len(order) else np.zeros(0, dtype=bool)
        group = np.cumsum(fresh) - 1
        shared = np.bincount(group)[group] > 1 if len(group) else fresh
        rows.append(order[shared])
        groups.append((group[shared] + number).astype(np.int32))
        number += len(order)
    by_row = np.argsort(np.concatenate(rows), kind="stable")
    return np.concatenate(rows)[by_row], np.concatenate(groups)[by_row]
