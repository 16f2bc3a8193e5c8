"""Near-duplicates among many texts: MinHash with banding, each find checked by its true similarity.

Broder 1997, "On the resemblance and containment of documents"; bands as in Leskovec, Rajaraman and Ullman, "Mining of
Massive Datasets", chapter 3.4.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Hashes = npt.NDArray[np.uint32]

LETTERS = 5
"""Characters of a shingle."""
BANDS, BAND_ROWS = 14, 5
"""Texts with a similarity of 0.8 meet in one band or more with a chance of 1 - (1 - 0.8^5)^14 = 99.6%, those with 0.5
with 36%."""
MOST_CANDIDATES = 40
"""Texts that one text is compared with: beyond, all are made by one template."""
CHUNK = 1 << 20
"""Characters that are hashed at once, which bounds the memory."""


class Shingled:
    """Texts as sets of hashed shingles, and their MinHash signatures.

    Attributes:
        signatures: shape (texts, BANDS): one number for each band; equal numbers mean the texts may be alike.
    """

    def __init__(self, texts: Sequence[str], groups: Sequence[str], step: Callable[[], None] = lambda: None):
        """
        Args:
            groups: for each text a name; only texts of one group can be alike.
        """
        import numpy as np

        self.texts = texts
        parts = []
        for begin, end in _chunks(texts):
            parts.append(_signatures(texts[begin:end]))
            step()
        self.signatures = np.concatenate(parts) if parts else np.empty((0, BANDS), np.uint64)
        marks = np.array([zlib.crc32(group.encode()) for group in groups], np.uint64)
        self.signatures ^= marks[:, None] << np.uint64(16)

    def hashes(self, index: int) -> Hashes:
        import numpy as np

        return np.unique(_hashes(self.texts[index])[0])


def alike(queries: Shingled, known: Shingled, least: float,
          accept: Callable[[int, int], bool]) -> Iterator[tuple[int, int, float]]:
    """For each query that has one: its index, that of a known text like it, and their Jaccard similarity.

    Args:
        least: similarity from which two texts are alike; 0.8 and above is found nearly always.
        accept: asked of a query and a known text that are alike; where it says no, the next one is looked at.
    """
    for query, candidates in _candidates(queries.signatures, known.signatures):
        own = queries.hashes(query)
        for index in candidates:
            share = jaccard(own, known.hashes(index))
            if share >= least and accept(query, index):
                yield query, index, share
                break


def similarity(left: str, right: str) -> float:
    import numpy as np

    return jaccard(np.unique(_hashes(left)[0]), np.unique(_hashes(right)[0]))


def jaccard(left: Hashes, right: Hashes) -> float:
    """The Jaccard index of two sorted arrays without repeats: shared values over all values."""
    import numpy as np

    shared = len(np.intersect1d(left, right, assume_unique=True))
    together = len(left) + len(right) - shared
    return shared / together if together else 0.0


def _chunks(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Stretches of texts with about `CHUNK` characters."""
    begin = size = 0
    for index, text in enumerate(texts):
        size += len(text)
        if size >= CHUNK:
            yield begin, index + 1
            begin, size = index + 1, 0
    if begin < len(texts):
        yield begin, len(texts)


def _hashes(*texts: str) -> tuple[Hashes, Any]:
    """Hashes of the shingles of all texts, one after another, and where each text's begin."""
    import numpy as np

    # Each text has one shingle at least: blanks make up for what is missing.
    padded = [text.ljust(LETTERS) for text in texts]
    codes = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), np.uint32)
    lengths = np.array([len(text) for text in padded])
    ends = np.cumsum(lengths)
    count = len(codes) - LETTERS + 1
    value = np.zeros(count, np.uint64)
    for offset in range(LETTERS):
        value = value * np.uint64(0x100000001B3) ^ codes[offset : offset + count]
    # A shingle that would reach into the next text is none.
    keep = np.ones(len(codes), bool)
    for offset in range(1, LETTERS):
        keep[ends - offset] = False
    value = value[keep[:count]]
    value ^= value >> np.uint64(31)
    value *= np.uint64(0x9E3779B97F4A7C15)
    starts = np.concatenate([[0], np.cumsum(lengths - LETTERS + 1)[:-1]])
    return (value >> np.uint64(32)).astype(np.uint32), starts


def _signatures(texts: Sequence[str]) -> Any:
    import numpy as np

    hashes, starts = _hashes(*texts)
    generator = np.random.Generator(np.random.PCG64(0))
    factors = generator.integers(1, 2**31, BANDS * BAND_ROWS, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    added = generator.integers(0, 2**32, BANDS * BAND_ROWS, dtype=np.uint32)
    bands = np.zeros((len(texts), BANDS), np.uint64)
    for number, (factor, plus) in enumerate(zip(factors, added, strict=True)):
        mixed = hashes * factor
        mixed ^= plus
        least = np.minimum.reduceat(mixed, starts).astype(np.uint64)
        band = number % BANDS
        bands[:, band] = (bands[:, band] ^ least) * np.uint64(0x100000001B3)
        bands[:, band] ^= bands[:, band] >> np.uint64(29)
    return bands


def _candidates(queries: Any, known: Any) -> Iterator[tuple[int, list[int]]]:
    """For each query the known texts that share a band with it, those that share most first."""
    import numpy as np

    if not len(queries) or not len(known):
        return
    found: dict[int, dict[int, int]] = {}
    for band in range(BANDS):
        order = np.argsort(known[:, band], kind="stable")
        values = known[order, band]
        left = np.searchsorted(values, queries[:, band], "left")
        right = np.searchsorted(values, queries[:, band], "right")
        for query in np.nonzero(right > left)[0]:
            counts = found.setdefault(int(query), {})
            for index in order[left[query] : min(right[query], left[query] + MOST_CANDIDATES)]:
                counts[int(index)] = counts.get(int(index), 0) + 1
    for number, counts in sorted(found.items()):
        yield number, sorted(counts, key=lambda index: (-counts[index], index))[:MOST_CANDIDATES]
