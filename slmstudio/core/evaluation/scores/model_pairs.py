"""Models set against the first of them, score by score, in all rows and in groups of rows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slmstudio.core.evaluation.scores import verdicts
from slmstudio.core.evaluation.scores.comparison import Difference, compare
from slmstudio.core.evaluation.scores.metrics import METRICS, Metric, main_metric

if TYPE_CHECKING:
    from slmstudio.core.evaluation.scores.score_table import Places, ScoreTable

GROUPED_BY = ("category", "language", "training")
MOST_GROUPS = 100
"""With more, nothing of one group could be told from chance, and each takes its time."""

PER_TOKEN = ("loss", "perplexity")
"""Scores whose unit is a token, which is another one to models that cut text in other places."""


def groups(table: ScoreTable, name: str) -> dict[str, Places]:
    """The rows of each group of a kind in `GROUPED_BY`; of very many groups the largest, and none of a single row."""
    found = table.groups(name)
    if len(found) <= MOST_GROUPS:
        return found
    largest = sorted(found, key=lambda group: -len(found[group]))[:MOST_GROUPS]
    return {group: found[group] for group in sorted(largest) if len(found[group]) > 1}


def comparisons(names: list[str], table: ScoreTable) -> list[dict[str, Any]]:
    """Each model against the first, score by score. Perplexity is left out: it is the loss, in other words."""
    found = []
    for metric in METRICS.values():
        if metric.key == "perplexity":
            continue
        pairs = [pair for model in range(1, len(names)) if (pair := _pair(metric, table, model))]
        corrected = verdicts.holm([pair.found.p for pair in pairs])
        for pair, p in zip(pairs, corrected, strict=True):
            found.append({"of": names[pair.model], "with": names[0], **pair.said(p, len(pairs))})
    main = main_metric({each["metric"]: None for each in found}, [kind for kind, _ in table.kinds.most_common()])
    return [{**each, "main": each["metric"] == main} for each in found]


def group_comparisons(names: list[str], table: ScoreTable) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Each model against the first in each group of `GROUPED_BY`, by the score that decides there; p is corrected for
    the number of groups and models. Left out where there is one group only."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for name in GROUPED_BY:
        members_of = groups(table, name)
        if len(members_of) < 2:
            continue
        pairs = [(group, pair) for group, members in members_of.items() for model in range(1, len(names))
                 if (pair := _deciding_pair(table, model, members))]
        corrected = verdicts.holm([pair.found.p for _, pair in pairs])
        for (group, pair), p in zip(pairs, corrected, strict=True):
            found.setdefault(name, {}).setdefault(group, []).append(
                {"of": names[pair.model], "with": names[0], **pair.said(p, len(pairs))})
    return found


def _deciding_pair(table: ScoreTable, model: int, members: Any) -> Pair | None:
    """The comparison of a group by the score that decides for most of its rows."""
    kinds = table.kinds_of(members)
    there = {key: None for key, metric in METRICS.items() if len(table.common(metric, 0, model, members))}
    metric = main_metric(there, [kind for kind, _ in kinds.most_common()])
    return _pair(METRICS[metric], table, model, members) if metric else None


@dataclass(frozen=True)
class Pair:
    """A model's difference from the first model in one metric."""

    metric: Metric
    model: int
    of: float
    with_: float
    found: Difference
    same: str
    left_out: int

    def said(self, p: float, tests: int) -> dict[str, Any]:
        """The comparison as in scores.json, without the names of the two models.

        Args:
            p: corrected for the number of `tests`.
        """
        verdict = verdicts.verdict(self.metric, self.of, self.with_, self.found, p)
        needed = self.found.rows_needed
        open_ = verdict == verdicts.UNKNOWN and needed is not None and needed > self.found.rows
        found = {"metric": self.metric.key, "score": rounded(self.of), "other": rounded(self.with_),
                 "difference": rounded(self.found.value), "low": rounded(self.found.low),
                 "high": rounded(self.found.high), "p": p, "p_uncorrected": self.found.p, "tests": tests,
                 "rows": self.found.rows, "left_out": self.left_out, "rows_needed": needed if open_ else None,
                 "verdict": verdict, "same": self.same == verdicts.SAME_ANSWERS,
                 "same_scores": self.same == verdicts.SAME_SCORES}
        return {**found, "sentence": verdicts.sentence(found)}


def _pair(metric: Metric, table: ScoreTable, model: int, members: Any = None) -> Pair | None:
    """In all rows, or in `members`. None if there is nothing to compare: a loss a token means nothing beside that of
    a model whose tokens are longer or shorter."""
    common = table.common(metric, 0, model, members)
    if not len(common) or (metric.key in PER_TOKEN and not table.same_tokens(model)):
        return None
    first, second = table.counts(metric, 0, common), table.counts(metric, model, common)
    same = ""
    if table.same_as_first(metric, model, common):
        same = verdicts.SAME_ANSWERS
    elif (first == second).all():
        same = verdicts.SAME_SCORES
    return Pair(metric, model, float(metric.score(second.sum(0))), float(metric.score(first.sum(0))),
                 compare(second, first, metric), same, table.left_out(metric, 0, model))


def rounded(value: float) -> float | None:
    """Six digits behind the point, more than any score means; None for what has no bound."""
    return round(value, 6) if math.isfinite(value) else None
