"""The scores: what each is called, and which rows have it, and what one answer adds to it.

Every score is a function of sums over rows, so that the same code gives the score of a set, of a category, of a single
row, and of the thousands of resampled sets behind an interval.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slmstudio.core.evaluation.scores import ngrams
from slmstudio.core.evaluation.scores.matching import (
    matches_pattern,
    normalised,
    same_number,
    same_text,
    same_words,
    words,
)
from slmstudio.core.evaluation.scores.ngrams import rouge_l_of_words
from slmstudio.core.files import finite
from slmstudio.core.i18n import noop

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# -- What one answer adds to the sums that a score is computed from.

Item = Mapping[str, Any]
"""A line of items.jsonl."""
Answer = Mapping[str, Any]
"""A line of answers-*.jsonl."""
GRAIN = 2.0**-20
"""Nats and shares are kept in multiples of this, about 1e-6: sums of them are exact, so in whatever order and by
whatever library they are added, every bit of the score is the same."""


@dataclass(frozen=True)
class Given:
    """What one model answered to one item.

    Attributes:
        text: the answer; None if there is none to read.
        intl: whether BLEU by the punctuation of every script is wanted.
    """

    item: Item
    answer: Answer
    references: References
    intl: bool

    @property
    def text(self) -> str | None:
        text = self.answer.get("answer")
        return text if isinstance(text, str) else None

    @functools.cached_property
    def nats(self) -> list[float] | None:
        """Nats and tokens of all references together."""
        nats, tokens = self.answer.get("reference_nats") or (), self.answer.get("reference_tokens") or ()
        pairs = [(n, t) for n, t in zip(nats, tokens, strict=False) if _is_number(n) and _is_number(t) and t > 0]
        return [_grained(math.fsum(n for n, _ in pairs)), float(sum(t for _, t in pairs))] if pairs else None


class References:
    """The references of one row, looked at once for all models."""

    def __init__(self, texts: list[str], intl: bool):
        self.texts = texts
        self._intl = intl

    @functools.cached_property
    def normalised(self) -> dict[str, str]:
        return {each: normalised(each) for each in self.texts}

    @functools.cached_property
    def words(self) -> list[list[str]]:
        return [words(each) for each in self.texts]

    @functools.cached_property
    def grams(self) -> ngrams.References:
        return ngrams.References(self.texts, ("13a", "intl") if self._intl else ("13a",))


def _of_text(count: Callable[[Given, str], list[float]]) -> Callable[[Given], list[float] | None]:
    """Counts by the text of an answer; None where there is no text, or no reference."""

    def counted(given: Given) -> list[float] | None:
        text = given.text
        return count(given, text) if text is not None and given.references.texts else None

    return counted


def _yes(right: bool) -> list[float]:
    return [float(right), 1]


def pattern(given: Given) -> list[float] | None:
    wanted = given.item.get("pattern")
    return None if given.text is None or not isinstance(wanted, str) else _yes(
        bool(matches_pattern(wanted, given.text)))


def accuracy(given: Given) -> list[float] | None:
    logprobs = _choice_logprobs(given)
    return _yes(_best(logprobs) == given.item["answer"]) if logprobs else None


def accuracy_norm(given: Given) -> list[float] | None:
    logprobs = _choice_logprobs(given)
    if not logprobs or given.answer.get("choices_by") == "letter":
        return None  # letters are of one length, whatever they stand for
    by_length = [p / max(1, len(choice)) for p, choice in zip(logprobs, given.item["choices"], strict=True)]
    return _yes(_best(by_length) == given.item["answer"])


def _choice_logprobs(given: Given) -> Sequence[float]:
    logprobs, choices = given.answer.get("choice_logprobs") or [], given.item.get("choices") or []
    whole = given.item.get("answer") is not None and len(logprobs) == len(choices) and all(map(_is_number, logprobs))
    return list(logprobs) if whole else []


def _best(values: Sequence[float]) -> int:
    """The first of the highest, as numpy's argmax and so lm_eval."""
    return max(range(len(values)), key=lambda i: (values[i], -i))


def _is_number(value: Any) -> bool:
    return finite(value) is not None


def _grained(value: float) -> float:
    return round(value / GRAIN) * GRAIN


Counts = dict[str, list[float]]
"""Key of a metric → what one row adds to its sums."""


@dataclass(frozen=True)
class Metric:
    """
    Attributes:
        key: as in scores.json.
        name: as people read it behind a figure: "52.4 chrF++"; `label`: above a column; `help`: what it says. All three
            are in English: whoever shows them translates them.
        kinds: of rows that have it.
        width: how many sums it is computed from.
        score: sums (..., width) → scores (...).
        count: what one answer adds to the sums; None if it lacks what is needed.
        row_score: as `score` for single rows, where that differs.
        higher_is_better: False for loss and perplexity, which are in nats a token and without a unit; all others are
            0 to 100.
        yes_or_no: whether each row is right or wrong and nothing between.
        reads_text: whether it looks at the words of an answer, not at likelihoods.
    """

    key: str
    name: str
    label: str
    help: str
    kinds: tuple[str, ...]
    width: int
    score: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    count: Callable[[Given], list[float] | None]
    row_score: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None = None
    higher_is_better: bool = True
    yes_or_no: bool = False
    reads_text: bool = True

    @property
    def most(self) -> float:
        return 100.0 if self.higher_is_better else math.inf


def _ratio(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    return sums[..., 0] / np.maximum(sums[..., 1], GRAIN)


def _share(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    return 100 * _ratio(sums)


def _perplexity(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    return np.exp(np.minimum(_ratio(sums), 700))


_bleu_intl = _of_text(lambda given, text: [*given.references.grams.bleu(text, "intl")])
EVERY_KIND = ("free", "choice", "number", "exact", "pattern")
METRICS: dict[str, Metric] = {each.key: each for each in (
    Metric("accuracy", noop("percent accuracy"), noop("Accuracy"),
           noop("Share of questions for which the model finds the right choice most likely, in %."),
           ("choice",), 2, _share, accuracy, yes_or_no=True, reads_text=False),
    Metric("accuracy_norm", noop("percent accuracy by length"), noop("Accuracy, by length"),
           noop("The same, with each choice's likelihood divided by its length, in %."),
           ("choice",), 2, _share, accuracy_norm, yes_or_no=True, reads_text=False),
    Metric("numeric", noop("percent correct numbers"), noop("Correct number"),
           noop("Share of answers that end with the reference's number, in %."), ("number",), 2, _share,
           _of_text(lambda given, text: _yes(same_number(text, given.references.texts))), yes_or_no=True),
    Metric("pattern", noop("percent matches of the pattern"), noop("Pattern met"),
           noop("Share of answers that match the row's pattern, in %."), ("pattern",), 2, _share, pattern,
           yes_or_no=True),
    Metric("exact", noop("percent exact matches"), noop("Exact match"),
           noop("Share of answers that match the reference letter by letter, in %."), ("exact", "free"), 2, _share,
           _of_text(lambda given, text: _yes(any(same_text(text, each) for each in given.references.texts))),
           yes_or_no=True),
    Metric("normalised", noop("percent normalised matches"), noop("Normalised match"),
           noop("Share of answers that match the reference apart from case, punctuation and the script of digits, "
                "in %."),
           ("exact", "free"), 2, _share,
           _of_text(lambda given, text: _yes(same_words(text, given.references.normalised))), yes_or_no=True),
    Metric("chrf", "chrF++", "chrF++",
           noop("How many letters and words the answer shares with the reference (chrF++), 0 to 100. The score to "
                "trust for Indian languages."), ("free",), ngrams.CHRF_WIDTH, ngrams.chrf_score,
           _of_text(lambda given, text: [*given.references.grams.chrf(text)])),
    Metric("bleu", "BLEU", "BLEU", noop("Shared runs of up to four words (BLEU), 0 to 100."),
           ("free",), ngrams.BLEU_WIDTH, ngrams.bleu_score,
           _of_text(lambda given, text: [*given.references.grams.bleu(text, "13a")]), ngrams.bleu_row_score),
    Metric("bleu_intl", noop("BLEU (international)"), noop("BLEU (international)"),
           noop("BLEU that separates the punctuation of every script from words, 0 to 100."),
           ("free",), ngrams.BLEU_WIDTH, ngrams.bleu_score,
           lambda given: _bleu_intl(given) if given.intl else None, ngrams.bleu_row_score),
    Metric("rouge_l", "ROUGE-L", "ROUGE-L", noop("The longest sequence of words in common (ROUGE-L), 0 to 100."),
           ("free",), 2, _share,
           _of_text(lambda given, text: [_grained(rouge_l_of_words(words(text), given.references.words)), 1])),
    Metric("loss", noop("nats per token"), noop("Loss"),
           noop("How surprised the model is by a token of the reference. Lower is better."),
           EVERY_KIND, 2, _ratio, lambda given: given.nats, higher_is_better=False, reads_text=False),
    Metric("perplexity", noop("perplexity"), noop("Perplexity"),
           noop("The number of equally likely tokens that it would have to choose from. Lower is better."),
           EVERY_KIND, 2, _perplexity, lambda given: given.nats, higher_is_better=False, reads_text=False),
)}
"""In the order in which they are shown. "bleu" has sacrebleu's default tokenizer, 13a, and equals its command line; but
13a knows ASCII punctuation only: a danda stays part of the word before it. "bleu_intl" is `--tokenize intl`, by the
punctuation of every script, and is given where any reference of the set is in a script other than Latin."""

MAIN = {"choice": "accuracy", "number": "numeric", "pattern": "pattern", "exact": "normalised", "free": "chrf"}
"""The score by which answers of a kind are judged, named before anything is measured."""


def main_metric(scores: Mapping[str, Any], kinds: Sequence[str] = ()) -> str | None:
    """The metric of `scores` that decides: that of the first of `kinds` that is there, else the first there is."""
    wanted = [MAIN[kind] for kind in kinds if kind in MAIN] or list(MAIN.values())
    return next((key for key in (*wanted, *METRICS) if key in scores), None)


def row_counts(item: Item, answers: Sequence[Answer | None], intl: bool = True) -> list[Counts]:
    """What each of several models' answers to one item adds to each metric; {} where there is none, or it was skipped.

    A metric that lacks what it needs (a reference, the choices' log-likelihoods) is left out for that row.

    Args:
        intl: whether "bleu_intl" is wanted.
    """
    references = References([each for each in item.get("references") or () if isinstance(each, str)], intl)
    wanted = _of_kind(item.get("kind"))
    found: list[Counts] = []
    for answer in answers:
        counts: Counts = {}
        found.append(counts)
        if answer is None or answer.get("skipped"):
            continue
        given = Given(item, answer, references, intl)
        for metric in wanted:
            if (sums := metric.count(given)) is not None:
                counts[metric.key] = sums
    return found


@functools.cache
def _of_kind(kind: str | None) -> list[Metric]:
    """The metrics that rows of a kind may have; likelihoods are counted of every row that has them."""
    return [metric for metric in METRICS.values() if not metric.reads_text or kind in metric.kinds]


def needs_intl(item: Item) -> bool:
    """Whether references are in a script other than Latin, whose punctuation the default tokenizer may not know."""
    return item.get("kind") == "free" and any(
        each > "\u02ff" and each.isalpha() for reference in item.get("references") or () for each in str(reference))


def row_values(counts: Counts) -> Iterator[tuple[str, float]]:
    import numpy as np

    for key, sums in counts.items():
        metric = METRICS[key]
        yield key, float((metric.row_score or metric.score)(np.asarray(sums, dtype=np.float64)))
