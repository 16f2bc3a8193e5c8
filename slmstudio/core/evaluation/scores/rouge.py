"""ROUGE-L for every script: the longest common subsequence of words (Lin 2004)."""

from __future__ import annotations

from collections.abc import Sequence


def common_length(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest common subsequence.

    Bit-parallel (Hyyrö, "Bit-parallel LCS-length computation revisited", 2004): each word of `second` costs a few
    operations on one long integer, so that answers of 1,000 words take about a millisecond.

    >>> common_length("a b c d".split(), "b x d".split())
    2
    """
    places: dict[str, int] = {}
    for i, word in enumerate(first):
        places[word] = places.get(word, 0) | 1 << i
    every = (1 << len(first)) - 1
    row = every
    for word in second:
        hits = row & places.get(word, 0)
        row = ((row + hits) | (row - hits)) & every
    return len(first) - row.bit_count()


def rouge_l_of_words(given: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """F1 of precision and recall of the longest common subsequence of words, 0 to 1; of several references the best.

    Equals rougeL of the package `rouge_score` without its stemmer on plain English; that package drops all letters but
    a to z, which leaves nothing of a Hindi answer.
    """
    best = 0.0
    for wanted in references:
        if not given or not wanted:
            continue
        common = common_length(given, wanted)
        best = max(best, 2 * common / (len(given) + len(wanted)))
    return best
