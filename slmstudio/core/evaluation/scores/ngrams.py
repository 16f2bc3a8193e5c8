"""chrF++ and BLEU from counts that can be added up: one row of counts an answer, one score for any sum of rows.

The counts are sacrebleu's own, so that scores equal its command line. The score is computed here, for many sums at
once, because a bootstrap asks for thousands of them.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CHAR_ORDER, WORD_ORDER, BETA = 6, 2, 2
CHRF_WIDTH = 3 * (CHAR_ORDER + WORD_ORDER)
MAX_ORDER = 4
BLEU_WIDTH = 2 + 2 * MAX_ORDER


class References:
    """The n-grams of one row's references, counted once for all models.

    Args:
        references: at least one text.
        tokenizers: of BLEU: "13a", sacrebleu's default, or "intl", which knows the punctuation of every script.
    """

    def __init__(self, references: Sequence[str], tokenizers: Sequence[str] = ("13a",)):
        self._chrf = _chrf()._extract_reference_info(list(references))
        self._bleu = {}
        for name in tokenizers:
            metric = _bleu(name)
            self._bleu[name] = metric._extract_reference_info([metric._preprocess_segment(r) for r in references])

    def chrf(self, answer: str) -> list[int]:
        """`CHRF_WIDTH` counts: for each order the n-grams of the answer, of the reference, and common to both.

        Of several references the one with the best score counts (sacrebleu, Popović 2017).
        """
        counts: list[int] = _chrf()._compute_segment_statistics(answer, self._chrf)
        return counts

    def bleu(self, answer: str, tokenizer: str = "13a") -> list[int]:
        """`BLEU_WIDTH` counts: length of the answer, of the closest reference, matches and n-grams of each order."""
        metric = _bleu(tokenizer)
        tokens = metric._preprocess_segment(answer)
        counts: list[int] = metric._compute_segment_statistics(tokens, self._bleu[tokenizer])
        return counts


def chrf_score(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """chrF++ of summed counts, 0 to 100.

    F with β = 2 of the means over the orders of precision and recall (Popović 2015, 2017), orders that one side lacks
    left out, as sacrebleu does it.

    Args:
        sums: (..., CHRF_WIDTH).

    Returns:
        (...).
    """
    import numpy as np

    parts = np.asarray(sums, dtype=np.float64)
    parts = parts.reshape(*parts.shape[:-1], -1, 3)
    given, wanted, common = parts[..., 0], parts[..., 1], parts[..., 2]
    both = (given > 0) & (wanted > 0)
    orders = np.maximum(both.sum(-1), 1)
    precision = np.where(both, common / np.where(both, given, 1), 0).sum(-1) / orders
    recall = np.where(both, common / np.where(both, wanted, 1), 0).sum(-1) / orders
    below = BETA**2 * precision + recall
    score: NDArray[np.float64] = 100 * (1 + BETA**2) * precision * recall / np.where(below > 0, below, 1)
    return score


def bleu_score(sums: NDArray[np.float64], effective: bool = False) -> NDArray[np.float64]:
    """BLEU of summed counts, 0 to 100: Papineni et al. 2002, exponential smoothing of orders without a match.

    That is sacrebleu's default, `smooth:exp`, `eff:no`; see `bleu_row_score` for single rows.

    Args:
        sums: (..., BLEU_WIDTH).
        effective: whether orders longer than the answer are left out.

    Returns:
        (...).
    """
    import numpy as np

    sums = np.asarray(sums, dtype=np.float64)
    length, wanted = sums[..., 0], sums[..., 1]
    right, total = sums[..., 2 : 2 + MAX_ORDER], sums[..., 2 + MAX_ORDER :]
    there = np.cumprod(total > 0, axis=-1).astype(bool)  # sacrebleu stops at the first order without an n-gram
    missed = np.cumsum(there & (right <= 0), axis=-1)
    precision = np.where(right > 0, right, 0.5**missed) / np.where(there, total, 1)
    orders = there.sum(-1) if effective else MAX_ORDER
    logs = np.where(there, np.log(precision), 0).sum(-1) / np.maximum(orders, 1)
    # Without smoothing's help an order that no answer reaches leaves nothing.
    some = (right.sum(-1) > 0) & (there.all(-1) | effective)
    shorter = (length < wanted) & (length > 0)
    penalty = np.where(shorter, np.exp(np.where(shorter, 1 - wanted / np.where(length > 0, length, 1), 0)), 1.0)
    return np.where(some, 100 * penalty * np.exp(logs), 0.0)


bleu_row_score = functools.partial(bleu_score, effective=True)
"""BLEU of single answers, as sacrebleu's `sentence_bleu`."""


@functools.cache
def _chrf() -> Any:
    from sacrebleu.metrics.chrf import CHRF

    metric = CHRF(char_order=CHAR_ORDER, word_order=WORD_ORDER, beta=BETA)
    metric._get_match_statistics = _in_common  # type: ignore[method-assign,assignment]
    return metric


def _in_common(given: Counter[str], wanted: Counter[str]) -> list[int]:
    """sacrebleu's counts of one order: n-grams of the answer, of the reference, and common to both. Those of one side
    alone, which are most of them, are never looked at one by one."""
    both = given.keys() & wanted.keys()
    return [given.total() if wanted else 0, wanted.total(), sum(min(given[each], wanted[each]) for each in both)]


@functools.cache
def _bleu(tokenizer: str) -> Any:
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(tokenize=tokenizer, force=True)


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
