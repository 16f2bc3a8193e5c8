"""The scores: what each is called, which rows have it, and what one answer adds to it.

Every score is a function of sums over rows, so that the same code gives the score of a set, of a category, of a single
row, and of the thousands of resampled sets behind an interval.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slmstudio.core.evaluation.scores import ngrams, patterns
from slmstudio.core.evaluation.scores.normalise import normalised, same_text, same_words, words
from slmstudio.core.evaluation.scores.numbers import same_number
from slmstudio.core.evaluation.scores.rouge import rouge_l_of_words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Item = Mapping[str, Any]
"""A line of items.jsonl."""
Answer = Mapping[str, Any]
"""A line of answers-*.jsonl."""
Counts = dict[str, list[float]]
"""Key of a metric → what one row adds to its sums."""

GRAIN = 2.0**-20
"""Nats and shares are kept in multiples of this, about 1e-6: sums of them are exact, so in whatever order and by
whatever library they are added, every bit of the score is the same."""


@dataclass(frozen=True)
class Metric:
    """
    Attributes:
        key: as in scores.json.
        name: as people read it: "52.4 chrF++".
        kinds: of rows that have it.
        width: how many sums it is computed from.
        score: sums (..., width) → scores (...).
        row_score: the same for single rows, where that differs.
        higher_is_better: False for loss and perplexity, which are in nats a token and without a unit; all others are
            0 to 100.
        yes_or_no: whether each row is right or wrong and nothing between.
    """

    key: str
    name: str
    kinds: tuple[str, ...]
    width: int
    score: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    row_score: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None = None
    higher_is_better: bool = True
    yes_or_no: bool = False

    @property
    def reads_text(self) -> bool:
        """Whether it looks at the words of an answer, not at likelihoods."""
        return self.key not in ("loss", "perplexity", "accuracy", "accuracy_norm")

    @property
    def most(self) -> float:
        """The highest value there is."""
        return 100.0 if self.higher_is_better else math.inf


def _ratio(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    return sums[..., 0] / np.maximum(sums[..., 1], GRAIN)


def _share(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    return 100 * _ratio(sums)


def _perplexity(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    return np.exp(np.minimum(_ratio(sums), 700))


EVERY_KIND = ("free", "choice", "number", "exact", "pattern")
METRICS: dict[str, Metric] = {each.key: each for each in (
    Metric("accuracy", "% accuracy", ("choice",), 2, _share, yes_or_no=True),
    Metric("accuracy_norm", "% accuracy by length", ("choice",), 2, _share, yes_or_no=True),
    Metric("numeric", "% right numbers", ("number",), 2, _share, yes_or_no=True),
    Metric("pattern", "% matches of the pattern", ("pattern",), 2, _share, yes_or_no=True),
    Metric("exact", "% exact matches", ("exact", "free"), 2, _share, yes_or_no=True),
    Metric("normalised", "% normalised matches", ("exact", "free"), 2, _share, yes_or_no=True),
    Metric("chrf", "chrF++", ("free",), ngrams.CHRF_WIDTH, ngrams.chrf_score),
    Metric("bleu", "BLEU", ("free",), ngrams.BLEU_WIDTH, ngrams.bleu_score, ngrams.bleu_row_score),
    Metric("bleu_intl", "BLEU (international)", ("free",), ngrams.BLEU_WIDTH, ngrams.bleu_score, ngrams.bleu_row_score),
    Metric("rouge_l", "ROUGE-L", ("free",), 2, _share),
    Metric("loss", "nats a token", EVERY_KIND, 2, _ratio, higher_is_better=False),
    Metric("perplexity", "perplexity", EVERY_KIND, 2, _perplexity, higher_is_better=False),
)}
"""In the order in which they are shown. "bleu" has sacrebleu's default tokenizer, 13a, and equals its command line; but
13a knows ASCII punctuation only: a danda stays part of the word before it. "bleu_intl" is `--tokenize intl`, by the
punctuation of every script, and is given where any reference of the set is in another script than Latin."""

MAIN = {"choice": "accuracy", "number": "numeric", "pattern": "pattern", "exact": "normalised", "free": "chrf"}
"""The score by which answers of a kind are judged, named before anything is measured."""


def main_metric(scores: Mapping[str, Any], kinds: Sequence[str] = ()) -> str | None:
    """The metric of `scores` that decides: that of the first of `kinds` that is there, else the first there is."""
    wanted = [MAIN[kind] for kind in kinds if kind in MAIN] or list(MAIN.values())
    return next((key for key in (*wanted, *METRICS) if key in scores), None)


class _References:
    """The references of one row, looked at once for all models."""

    def __init__(self, texts: list[str], intl: bool):
        self.texts = texts
        self._intl = intl

    @functools.cached_property
    def normalised(self) -> dict[str, str]:
        return {each: normalised(each) for each in self.texts}

    @functools.cached_property
    def _words(self) -> list[list[str]]:
        return [words(each) for each in self.texts]

    @functools.cached_property
    def _grams(self) -> ngrams.References:
        return ngrams.References(self.texts, ("13a", "intl") if self._intl else ("13a",))

    def overlap(self, text: str) -> Counts:
        """What an answer shares with them."""
        counts: Counts = {"chrf": [*self._grams.chrf(text)], "bleu": [*self._grams.bleu(text, "13a")]}
        if self._intl:
            counts["bleu_intl"] = [*self._grams.bleu(text, "intl")]
        return {**counts, "rouge_l": [_grained(rouge_l_of_words(words(text), self._words)), 1]}


def row_counts(item: Item, answers: Sequence[Answer | None], intl: bool = True) -> list[Counts]:
    """What each of several models' answers to one item adds to each metric; {} where there is none, or it was skipped.

    A metric that lacks what it needs (a reference, the choices' log-likelihoods) is left out for that row.

    Args:
        intl: whether "bleu_intl" is wanted.
    """
    found: list[Counts] = []
    references = _References([each for each in item.get("references") or () if isinstance(each, str)], intl)
    for answer in answers:
        if answer is None or answer.get("skipped"):
            found.append({})
            continue
        counts = {**_likelihoods(item, answer)}
        text = answer.get("answer")
        if isinstance(text, str) and item.get("kind") in MAIN:
            counts.update(_matches(item, text, references))
            if item["kind"] == "free" and references.texts:
                counts.update(references.overlap(text))
        found.append(counts)
    return found


def needs_intl(item: Item) -> bool:
    """Whether references are in another script than Latin, whose punctuation the default tokenizer may not know."""
    return item.get("kind") == "free" and any(
        each > "\u02ff" and each.isalpha() for reference in item.get("references") or () for each in str(reference))


def _matches(item: Item, text: str, references: _References) -> Counts:
    kind = item["kind"]
    if kind == "number" and references.texts:
        return {"numeric": [float(same_number(text, references.texts)), 1]}
    if kind == "pattern" and isinstance(item.get("pattern"), str):
        return {"pattern": [float(bool(patterns.matches(item["pattern"], text))), 1]}
    if kind in ("free", "exact") and references.texts:
        return {"exact": [float(any(same_text(text, each) for each in references.texts)), 1],
                "normalised": [float(same_words(text, references.normalised)), 1]}
    return {}


def _likelihoods(item: Item, answer: Answer) -> Counts:
    counts: Counts = {}
    nats, tokens = answer.get("reference_nats") or (), answer.get("reference_tokens") or ()
    pairs = [(n, t) for n, t in zip(nats, tokens, strict=False) if _number(n) and _number(t) and t > 0]
    if pairs:
        total = [_grained(math.fsum(n for n, _ in pairs)), float(sum(t for _, t in pairs))]
        counts["loss"] = counts["perplexity"] = total
    logprobs, choices, right = answer.get("choice_logprobs"), item.get("choices"), item.get("answer")
    if logprobs and choices and right is not None and len(logprobs) == len(choices) and all(map(_number, logprobs)):
        counts["accuracy"] = [float(_best(logprobs) == right), 1]
        if answer.get("choices_by") != "letter":  # letters are of one length, whatever they stand for
            by_length = [p / max(1, len(choice)) for p, choice in zip(logprobs, choices, strict=True)]
            counts["accuracy_norm"] = [float(_best(by_length) == right), 1]
    return counts


def _best(values: Sequence[float]) -> int:
    """The first of the highest, as numpy's argmax and so lm_eval."""
    return max(range(len(values)), key=lambda i: (values[i], -i))


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _grained(value: float) -> float:
    return round(value / GRAIN) * GRAIN


def row_values(counts: Counts) -> Iterator[tuple[str, float]]:
    """The scores of one row."""
    import numpy as np

    for key, sums in counts.items():
        metric = METRICS[key]
        yield key, float((metric.row_score or metric.score)(np.asarray(sums, dtype=np.float64)))
