"""What one answer adds to the sums that a score is computed from."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slmstudio.core.evaluation.scores import ngrams, patterns
from slmstudio.core.evaluation.scores.ngrams import rouge_l_of_words
from slmstudio.core.evaluation.scores.normalise import normalised, same_text, same_words, words
from slmstudio.core.evaluation.scores.numbers import same_number
from slmstudio.core.files import finite

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


def _of_text(given: Given, count: Callable[[str], list[float]]) -> list[float] | None:
    """What `count` makes of the text of an answer that has references."""
    text = given.text
    return count(text) if text is not None and given.references.texts else None


def _yes(right: bool) -> list[float]:
    return [float(right), 1]


def numeric(given: Given) -> list[float] | None:
    return _of_text(given, lambda text: _yes(same_number(text, given.references.texts)))


def pattern(given: Given) -> list[float] | None:
    wanted = given.item.get("pattern")
    return None if given.text is None or not isinstance(wanted, str) else _yes(
        bool(patterns.matches(wanted, given.text)))


def exact(given: Given) -> list[float] | None:
    return _of_text(given, lambda text: _yes(any(same_text(text, each) for each in given.references.texts)))


def normalised_match(given: Given) -> list[float] | None:
    return _of_text(given, lambda text: _yes(same_words(text, given.references.normalised)))


def chrf(given: Given) -> list[float] | None:
    return _of_text(given, lambda text: [*given.references.grams.chrf(text)])


def bleu(given: Given) -> list[float] | None:
    return _of_text(given, lambda text: [*given.references.grams.bleu(text, "13a")])


def bleu_intl(given: Given) -> list[float] | None:
    return _of_text(given, lambda text: [*given.references.grams.bleu(text, "intl")]) if given.intl else None


def rouge(given: Given) -> list[float] | None:
    return _of_text(given, lambda text: [_grained(rouge_l_of_words(words(text), given.references.words)), 1])


def loss(given: Given) -> list[float] | None:
    return given.nats


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
