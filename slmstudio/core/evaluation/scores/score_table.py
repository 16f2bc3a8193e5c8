"""What all rows add to all scores, in arrays: 100,000 rows take some tens of MB a model."""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from slmstudio.core.evaluation.scores.metrics import METRICS, Metric, row_counts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Places = NDArray[np.int64]

LEARNED, NEW = "learned", "new"
MARK = re.compile(r"<\|[a-zA-Z_]+\|>|\[/?INST\]|</?(?:start|end)_of_turn>|<</?SYS>>|</s>|### (?:Instruction|Response):")
"""What chat templates separate turns with; nobody means to read it."""


@dataclass
class Speed:
    """How fast a model answered, and what its answers look like.

    Attributes:
        seconds: that writing all answers took behind their first tokens. Reading the questions isn't in it: of a model
            that answers briefly, it would be most of the time.
        timed_tokens: the tokens that were written in them.
        answers: how many there are with a count of tokens.
        cut: answers that reached the limit of new tokens.
        repeated: answers that were stopped because they repeated themselves.
        references: tokens of the references, and how many references there are.
        marked: answers with marks of a chat template that no reference has; `mark`: the first.
        texts: hashes of the answers' words, and how often there is each.
    """

    seconds: float = 0.0
    tokens: int = 0
    timed_tokens: int = 0
    answers: int = 0
    cut: int = 0
    repeated: int = 0
    references: tuple[int, int] = (0, 0)
    marked: int = 0
    mark: str = ""
    texts: Counter[int] = field(default_factory=Counter)

    def add(self, answer: Mapping[str, Any], item: Mapping[str, Any]) -> None:
        if answer.get("choices_by"):
            return  # a letter was chosen, nothing was written
        if item.get("kind") != "choice":
            self._read(str(answer.get("answer") or ""), item.get("references") or ())
        tokens, seconds = answer.get("tokens"), answer.get("seconds")
        self.cut += answer.get("finish") == "length"
        self.repeated += answer.get("finish") == "repeat"
        lengths = [each for each in answer.get("reference_tokens") or () if isinstance(each, int)]
        self.references = self.references[0] + sum(lengths), self.references[1] + len(lengths)
        if isinstance(tokens, int):
            self.tokens += tokens
            self.answers += 1
            if isinstance(seconds, (int, float)) and seconds > 0:
                self.seconds += seconds
                self.timed_tokens += max(0, tokens - 1)

    def _read(self, text: str, references: Sequence[Any]) -> None:
        self.texts[_words(text)] += 1
        if (found := MARK.search(text)) and not any(MARK.search(str(each)) for each in references):
            self.marked += 1
            self.mark = self.mark or found[0]

    def to_dict(self) -> dict[str, Any]:
        return {"seconds": round(self.seconds, 3),
                "tokens_per_second": round(self.timed_tokens / self.seconds, 3) if self.seconds else None,
                "answer_tokens": round(self.tokens / self.answers, 3) if self.answers else None,
                "reference_tokens": round(self.references[0] / self.references[1], 3) if self.references[1] else None,
                "cut": self.cut, "repeated": self.repeated,
                "marked": self.marked, "mark": self.mark, "alike": max(self.texts.values(), default=0)}


class ScoreTable:
    """Rows are added one by one in the order of the test set, then `close`d, then asked for their sums.

    Args:
        intl: whether any row needs BLEU by the punctuation of every script.

    Attributes:
        kinds: how many items there are of each kind.
        trained_on: items that were in the training data.
        skipped: a count a model.
        speeds: one a model.
    """

    def __init__(self, models: int, intl: bool):
        self.kinds: Counter[str] = Counter()
        self.trained_on = 0
        self.skipped = [0] * models
        self.speeds = [Speed() for _ in range(models)]
        self._references: Counter[int] = Counter()
        self._sums: list[dict[str, array[float]]] = [{} for _ in range(models)]
        self._places: list[dict[str, array[int]]] = [{} for _ in range(models)]
        self._answered = [bytearray() for _ in range(models)]
        self._same_text = [bytearray() for _ in range(models)]
        self._same_all = [bytearray() for _ in range(models)]
        self._same_tokens = [True] * models
        self._kind: list[str] = []
        self._intl = intl
        self._groups: dict[str, dict[str, array[int]]] = {"category": {}, "language": {}, "training": {}}

    def add(self, item: Mapping[str, Any], answers: Sequence[Mapping[str, Any] | None]) -> None:
        place = len(self._kind)
        kind = str(item.get("kind") or "free")
        self._kind.append(kind)
        self.kinds[kind] += 1
        self.trained_on += bool(item.get("trained_on"))
        self._references[_words(str(next(iter(item.get("references") or ()), "")))] += 1
        tags = {"training": LEARNED if item.get("trained_on") else NEW}
        for name, groups in self._groups.items():
            if tag := tags.get(name) or item.get(name):
                groups.setdefault(str(tag), array("q")).append(place)
        for model, counts in enumerate(row_counts(item, answers, self._intl)):
            self._add_answer(model, answers[model], answers[0], item)
            for key, sums in counts.items():
                self._sums[model].setdefault(key, array("d")).extend(sums)
                self._places[model].setdefault(key, array("q")).append(place)

    def _add_answer(self, model: int, answer: Mapping[str, Any] | None, first: Mapping[str, Any] | None,
                    item: Mapping[str, Any]) -> None:
        given = answer is not None and not answer.get("skipped")
        self._answered[model].append(given)
        self.skipped[model] += answer is not None and not given
        if answer is not None and given:
            self.speeds[model].add(answer, item)
        mine, others = ((each or {}).get("reference_tokens") for each in (answer, first))
        self._same_tokens[model] &= not mine or not others or mine == others
        self._same_text[model].append(_alike(answer, first, ("answer",)))
        self._same_all[model].append(_alike(answer, first, ("answer", "reference_nats", "choice_logprobs")))

    def close(self, gate: Callable[[], None] = lambda: None) -> None:
        """Turn what was added into arrays.

        Args:
            gate: called whenever rows are asked for, which is when the long work is done; it may raise.
        """
        import numpy as np

        self._gate = gate
        self._counts = [{key: np.frombuffer(sums, dtype=np.float64).reshape(-1, METRICS[key].width)
                         for key, sums in each.items()} for each in self._sums]
        self._rows = [{key: np.frombuffer(rows, dtype=np.int64) for key, rows in each.items()} for each in self._places]

    def __len__(self) -> int:
        return len(self._kind)

    def references_alike(self) -> int:
        """How many rows have the most frequent reference."""
        return max(self._references.values(), default=0)

    def same_tokens(self, model: int) -> bool:
        """Whether the references have, row by row, as many tokens to the model as to the first one."""
        return self._same_tokens[model]

    def answered(self, model: int) -> int:
        return sum(self._answered[model])

    def groups(self, name: str) -> dict[str, Places]:
        """The rows of each "category" or "language" by name; of "training", those that were `LEARNED` and those that
        are `NEW` to the model, where there are both."""
        import numpy as np

        if name == "training" and len(self._groups[name]) < 2:
            return {}
        return {group: np.frombuffer(rows, dtype=np.int64) for group, rows in sorted(self._groups[name].items())}

    def counts(self, metric: Metric, model: int, rows: Places | None = None) -> NDArray[np.float64]:
        """What the model's rows add to the metric, (rows, width); of `rows` only, where given. May have no row."""
        import numpy as np

        self._gate()
        if metric.key not in self._counts[model]:
            return np.empty((0, metric.width))
        counts = self._counts[model][metric.key]
        if rows is None:
            return counts
        return counts[np.isin(self._rows[model][metric.key], rows, assume_unique=True)]

    def common(self, metric: Metric, first: int, second: int, rows: Places | None = None) -> Places:
        """The rows for which both models have the metric; of `rows` only, where given."""
        import numpy as np

        none = np.empty(0, dtype=np.int64)
        both = np.intersect1d(self._rows[first].get(metric.key, none), self._rows[second].get(metric.key, none),
                              assume_unique=True)
        return both if rows is None else np.intersect1d(both, rows, assume_unique=True)

    def kinds_of(self, rows: Places) -> Counter[str]:
        """How many of the rows there are of each kind."""
        return Counter(self._kind[row] for row in rows)

    def left_out(self, metric: Metric, first: int, second: int) -> int:
        """Rows that have the metric's kind, but not an answer of both models."""
        both = zip(self._kind, self._answered[first], self._answered[second], strict=True)
        return sum(kind in metric.kinds and not (one and other) for kind, one, other in both)

    def same_as_first(self, metric: Metric, model: int, rows: Places) -> bool:
        """Whether the model's answers in `rows` are those of the first model: what `metric` looks at in them, or all.

        Two answers of the same words are the same to chrF++, but not to the loss.
        """
        same = self._same_text if metric.reads_text else self._same_all
        return all(same[model][row] for row in rows)


def _alike(answer: Mapping[str, Any] | None, first: Mapping[str, Any] | None, keys: Sequence[str]) -> bool:
    return answer is not None and first is not None and all(answer.get(key) == first.get(key) for key in keys)


def _words(text: str) -> int:
    return hash(" ".join(text.casefold().split()))
