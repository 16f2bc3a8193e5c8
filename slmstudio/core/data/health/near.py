"""Rows and texts that are nearly the same: MinHash proposes pairs, the exact Jaccard index of their shingles decides.

Broder 1997, "On the resemblance and containment of documents"; bands as in Leskovec, Rajaraman and Ullman, "Mining of
Massive Datasets", chapter 3.4. A shingle is five tokens in a row. Rows are compared by the words of what is spoken,
without system messages and tools, in NFC and small letters; in scripts that put no spaces between words, each character
counts as a word.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from time import monotonic
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from slmstudio.core.data.health.artifacts import is_blank
from slmstudio.core.data.record import Record
from slmstudio.core.data.source import ReadingCancelled
from slmstudio.core.i18n import tr

# -- Reports how far a long check is, and stops it when asked to.

ROWS_BETWEEN_REPORTS = 2000
SECONDS_BETWEEN_QUESTIONS = 0.005


class CancellableProgress:
    """Counts steps: `progress` is called with (steps done, steps in all), and `cancelled` is asked whether to end."""

    def __init__(self, total: int, progress: Callable[[int, int], None] | None = None,
                 cancelled: Callable[[], bool] | None = None):
        self._total, self._progress, self._cancelled = total, progress, cancelled
        self._done, self._asked = 0, 0.0

    def step(self) -> None:
        """One row is done. Raises ReadingCancelled."""
        self._done += 1
        if self._progress is not None and self._done % ROWS_BETWEEN_REPORTS == 0:
            self._progress(min(self._done, self._total), self._total)
        self.ask()

    def ask(self) -> None:
        """Called often during long work.

        Raises:
            ReadingCancelled: `cancelled` returned True; it is asked every few milliseconds.
        """
        if self._cancelled is not None and monotonic() - self._asked >= SECONDS_BETWEEN_QUESTIONS:
            self._asked = monotonic()
            if self._cancelled():
                raise ReadingCancelled(tr("The check was cancelled."))


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
CHUNK = 200
TAIL, LOOKED_AT = 200, 20
"""Texts of a band, and the best of all candidates, that a text is compared with at most. It matters where thousands
are made from one template and none is a near-duplicate: all pairs would take days."""
REMEMBERED = 2000
SEED = 42
_PRIME = np.uint64(0x9E3779B97F4A7C15)
_WEIGHTS = np.array([pow(int(_PRIME), power, 1 << 64) for power in range(1, SHINGLE + 1)], np.uint64)
_SINGLE = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff"
UNSPACED = re.compile(rf"[{_SINGLE}]|[^\s{_SINGLE}]+")
"""Words, where Thai, Lao, Burmese, Khmer, Japanese and Chinese characters are words by themselves."""
Hashes = NDArray[np.uint64]
Tokens = Sequence[int] | NDArray[np.uint32]


def near_duplicates(records: Sequence[Record], left_out: set[int], progress: CancellableProgress) -> dict[int, int]:
    """Index of each row that is nearly the same as an earlier row → index of that row, which itself is none.

    Nearly the same are rows whose shingles have a Jaccard index of 0.8 or more, where questions and answers differ
    little, see `differ_little`.

    Args:
        records: all rows.
        left_out: indices of rows that aren't looked at.
        progress: counts each row, and raises `ReadingCancelled` where the user asked to end.
    """
    rows = [index for index, record in enumerate(records)
            if index not in left_out and not is_blank("".join(_spoken(record)))]

    def accept(row: int, other: int) -> bool:
        one, two = records[rows[row]], records[rows[other]]
        return one.desirable == two.desirable and all(map(differ_little, _spoken(one), _spoken(two)))

    pairs = near_pairs(lambda row: _tokens(records[rows[row]]), len(rows), accept, progress)
    return {rows[row]: rows[other] for row, other in pairs}


def _spoken(record: Record) -> list[str]:
    """What is compared, by who says it: a long system message that all rows share would make them all alike."""
    texts = ("\n".join(each["content"] for each in record.messages if each["role"] == role)
             for role in ("user", "assistant"))
    return [*texts, record.rejected or "", record.text or ""]


def _words(text: str) -> list[str]:
    if text.isascii():
        return text.casefold().split()
    return UNSPACED.findall(unicodedata.normalize("NFC", text).casefold())


def _tokens(record: Record) -> list[int]:
    """The CRC-32 of each word, which is the same in every process, so that the same rows are found each time."""
    return [crc32(word.encode("utf-8", "surrogatepass")) for word in _words("\n".join(_spoken(record)))]


def differ_little(one: str, two: str) -> bool:
    """Whether, of the lines that only one of both texts has, at least half of the words are in common: two questions
    about one long passage aren't the same question."""
    lines, others = ({tuple(_words(line)) for line in text.splitlines()} for text in (one, two))
    words, more = ({word for line in own for word in line} for own in (lines - others, others - lines))
    return not words or not more or len(words & more) >= LEAST_IN_COMMON * len(words | more)


def near_pairs(tokens: Callable[[int], Tokens], count: int, accept: Callable[[int, int], bool],
               progress: CancellableProgress, known: int | None = None) -> Iterator[tuple[int, int]]:
    """Texts, each with an earlier one that is nearly the same, by their places.

    Args:
        tokens: gives those of a text by its place.
        count: how many texts there are.
        accept: whether two texts that seem to be nearly the same are; asked for those that seem most alike first.
        progress: counts each text, and raises `ReadingCancelled` where the user asked to end.
        known: so many texts at the beginning are those that all later ones are compared with; None compares each text
            with all earlier ones that aren't nearly the same as others.
    """
    signatures, bands = _sketches(tokens, count, progress)
    rows, groups = _shared_bands(bands, progress)
    shingles = lru_cache(REMEMBERED)(lambda row: frozenset(_shingles(tokens(row)).tolist()))
    kept: dict[int, list[int]] = {}

    def like(row: int, its: list[int]) -> Iterator[int]:
        others = np.array(sorted({other for group in its for other in kept.get(group, ())[-TAIL:]}), dtype=np.int64)
        estimates = (signatures[others] == signatures[row]).mean(axis=1)
        best = np.argsort(-estimates, kind="stable")[:LOOKED_AT]
        for other in others[best[estimates[best] >= LEAST_ESTIMATE]].tolist():
            ours, theirs = shingles(row), shingles(other)
            if len(ours & theirs) >= THRESHOLD * len(ours | theirs) and accept(row, other):
                yield other

    for row in np.unique(rows).tolist():
        progress.ask()
        its = groups[slice(*np.searchsorted(rows, [row, row + 1]))].tolist()
        other = None if known is not None and row < known else next(like(row, its), None)
        if other is not None:
            yield row, other
        elif known is None or row < known:
            for group in its:
                kept.setdefault(group, []).append(row)


def _sketches(tokens: Callable[[int], Tokens], count: int,
              progress: CancellableProgress) -> tuple[NDArray[np.uint16], Hashes]:
    """Of each text 64 values of its MinHash, and a hash of each of its bands: about 300 bytes."""
    from rensa import RMinHash

    signatures, bands = np.zeros((count, ESTIMATED), np.uint16), np.zeros((count, BANDS), np.uint64)
    for begin in range(0, count, CHUNK):
        chunk = []
        for place in range(begin, min(count, begin + CHUNK)):
            chunk.append(_shingles(tokens(place)))
            progress.step()
        starts = np.cumsum([0, *map(len, chunk)]).astype(np.uint64)
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(np.concatenate(chunk), starts, PERMUTATIONS, SEED)
        values = np.array(matrix.to_rows(), dtype=np.uint32)
        here = slice(begin, begin + len(chunk))
        signatures[here] = values[:, :ESTIMATED]
        for column in range(BAND_ROWS):
            bands[here] = _mixed(bands[here], values[:, column:BANDS * BAND_ROWS:BAND_ROWS])
    return signatures, bands


def _mixed(hashes: Hashes, values: NDArray[np.unsignedinteger] | np.uint64) -> Hashes:
    hashes = (hashes ^ values) * _PRIME
    hashes ^= hashes >> np.uint64(29)
    return hashes


def _shingles(tokens: Tokens) -> Hashes:
    """A hash of each shingle of a text; one of fewer than five tokens has one."""
    padded = np.zeros(max(SHINGLE, len(tokens)), np.uint64)
    padded[:len(tokens)] = tokens
    return _mixed(np.convolve(padded, _WEIGHTS, "valid"), np.uint64(0))


def _shared_bands(bands: Hashes, progress: CancellableProgress) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """(row, group) for each band that a text shares with others, by row; a group are those with the same band."""
    rows, groups, number = [], [], 0
    for band in bands.T:
        progress.ask()
        _, group, counts = np.unique(band, return_inverse=True, return_counts=True)
        shared = np.flatnonzero(counts[group] > 1)
        rows.append(shared.astype(np.int32))
        groups.append((group[shared] + number).astype(np.int32))
        number += len(counts)
    by_row = np.argsort(np.concatenate(rows), kind="stable")
    return np.concatenate(rows)[by_row], np.concatenate(groups)[by_row]
