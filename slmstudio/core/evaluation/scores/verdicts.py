"""Models compared with the first of them, score by score, each in a sentence that says no more than its rows show."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slmstudio.core.evaluation.scores.metrics import METRICS, Metric, main_metric
from slmstudio.core.evaluation.scores.statistics import Difference, compare
from slmstudio.core.i18n import noop, ntr, tr
from slmstudio.core.votes.tally import LEVEL

if TYPE_CHECKING:
    from slmstudio.core.evaluation.scores.score_table import Places, ScoreTable

# -- What a comparison says, in a sentence, and no more than its rows can carry.

BETTER, WORSE, UNKNOWN = "better", "worse", "unknown"
SAME_ANSWERS = noop("The answers are the same.")
SAME_SCORES = noop("Every row has the same score.")
KEPT_WITHIN = 2.0
"""Points: an interval that is wider, and holds zero, doesn't show that knowledge was kept."""


def holm(values: Sequence[float]) -> list[float]:
    """p values of several tests, corrected so that chance alone finds anything in one of 20 families only.

    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6, 1979.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(values)), key=lambda i: values[i])
    corrected, highest = [0.0] * len(values), 0.0
    for place, i in enumerate(order):
        highest = max(highest, min(1.0, (len(values) - place) * values[i]))
        corrected[i] = highest
    return corrected


def verdict(metric: Metric, of: float, with_: float, found: Difference, p: float) -> str:
    """`BETTER`, `WORSE` or `UNKNOWN`: only where test and interval agree, and the difference can be seen in print.

    Args:
        p: the test's, corrected where there are several.
    """
    shown = score_text(metric.key, of) != score_text(metric.key, with_)
    if p >= LEVEL or found.low <= 0 <= found.high or not shown:
        return UNKNOWN
    return BETTER if (found.value > 0) == metric.higher_is_better else WORSE


def sentence(comparison: Mapping[str, Any]) -> str:
    """A comparison in one line.

    Args:
        comparison: as in scores.json: {"metric", "score", "other" (the score it is held against), "difference", "low",
            "high", "p", "tests" (how many comparisons p is corrected for), "rows", "rows_needed", "verdict", "same"
            (the answers are), "same_scores"}; a figure without a bound is None.

    Raises:
        KeyError, TypeError, ValueError: it isn't whole.
    """
    if comparison["same"]:
        return tr(SAME_ANSWERS)
    if comparison["same_scores"]:
        return tr(SAME_SCORES)
    metric, p, low, high = (comparison[key] for key in ("metric", "p", "low", "high"))
    values = {"score": score_text(metric, comparison["score"]), "other": score_text(metric, comparison["other"]),
              "metric": tr(METRICS[metric].name), "low": score_text(metric, low), "high": score_text(metric, high),
              "p": p_text(p)}
    if comparison["tests"] > 1:
        values["p"] = tr("{p} (corrected for {tests} comparisons)", p=values["p"], tests=comparison["tests"])
    if comparison["verdict"] != UNKNOWN:
        values["difference"] = score_text(metric, comparison["difference"])
        return tr("Better: {score} against {other} {metric} (difference {difference}, {low} to {high}), {p}.",
                  **values) if comparison["verdict"] == BETTER else tr(
                  "Worse: {score} against {other} {metric} (difference {difference}, {low} to {high}), {p}.", **values)
    # Few rows with much to gain can move a test while the interval still has room for no difference at all.
    if p >= LEVEL or (low is not None and low > 0) or (high is not None and high < 0):
        scores = tr("{score} against {other} {metric}, {p}.",
                    **{name: values[name] for name in ("score", "other", "metric", "p")})
    else:
        scores = tr("{score} against {other} {metric}, {p}, but the difference may be anything from {low} to {high}.",
                    **values)
    return f"{_undecided(comparison['rows'], comparison['rows_needed'])} {scores}"


def _undecided(rows: int, needed: int | None) -> str:
    if needed is not None:
        return ntr("{n:,} row isn't enough to show a difference; about {needed:,} would be.",
                   "{n:,} rows aren't enough to show a difference; about {needed:,} would be.", rows,
                   needed=rounded_up(needed))
    return ntr("{n:,} row isn't enough to show a difference.", "{n:,} rows aren't enough to show a difference.", rows)


def knowledge_sentence(title: str, comparison: Mapping[str, Any]) -> str:
    """What a benchmark says about what was forgotten, as in "General knowledge kept: MMLU −0.7 ± 1.1."."

    Args:
        title: the benchmark's.
        comparison: {"difference", "low", "high", "rows"}; a bound that is missing is None.

    Raises:
        KeyError, TypeError, ValueError: it isn't whole.
    """
    low, high = comparison["low"], comparison["high"]
    if low is None or high is None:
        return tr("One question of {benchmark} isn't enough to say anything.", benchmark=title)
    half = (high - low) / 2
    figures = f"{title} {comparison['difference']:+.1f} ± {half:.1f}".replace("-", "−")
    if low > 0:
        return tr("General knowledge gained: {figures}.", figures=figures)
    if high < 0:
        return tr("General knowledge lost: {figures}.", figures=figures)
    if half > KEPT_WITHIN:
        return ntr("{n:,} question isn't enough to show a change: {figures}.",
                   "{n:,} questions aren't enough to show a change: {figures}.", comparison["rows"], figures=figures)
    return tr("General knowledge kept: {figures}.", figures=figures)


def rounded_up(count: int) -> int:
    """Two digits of a count that is an estimate.

    >>> rounded_up(7), rounded_up(183), rounded_up(12_345)
    (7, 190, 13000)
    """
    size: int = 10 ** max(0, len(str(count)) - 2)
    return -(-count // size) * size


def score_text(metric: str, value: float | None) -> str:
    """With as many digits as mean something: 52.4, and 1.234 of nats a token."""
    if value is None or not math.isfinite(value):
        return tr("unknown")
    text = f"{value:.{3 if metric == 'loss' else 1}f}"
    return text.replace("-", "" if float(text) == 0 else "−")


def p_text(p: float) -> str:
    """Two digits, and more where two would round p up to the level that decides.

    >>> p_text(0.0004), p_text(0.0312), p_text(0.43), p_text(0.999), p_text(0.0499)
    ('p < 0.001', 'p = 0.031', 'p = 0.43', 'p = 1', 'p = 0.0499')
    """
    if p < 0.001:
        return "p < 0.001"
    short = f"{p:.2g}"
    return f"p = {short}" if (float(short) < LEVEL) == (p < LEVEL) else f"p = {p:.3g}"


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


def comparisons(names: list[str], table: ScoreTable, others: Sequence[int] | None = None) -> list[dict[str, Any]]:
    """Each model against the first, score by score. Perplexity is left out: it is the loss, in other words.

    Args:
        others: the models; None for all but the first.
    """
    found = []
    others = range(1, len(names)) if others is None else others
    for metric in METRICS.values():
        if metric.key == "perplexity":
            continue
        pairs = [its for model in others if (its := pair(metric, table, model))]
        corrected = holm([its.found.p for its in pairs])
        for its, p in zip(pairs, corrected, strict=True):
            found.append({"of": names[its.model], "with": names[0], **its.to_dict(p, len(pairs))})
    main = main_metric({each["metric"]: None for each in found}, [kind for kind, _ in table.kinds.most_common()])
    return [{**each, "main": each["metric"] == main} for each in found]


def group_comparisons(names: list[str], table: ScoreTable, others: Sequence[int] | None = None
                      ) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Each model against the first in each group of `GROUPED_BY`, by the score that decides there; p is corrected for
    the number of groups and models. Left out where there is one group only. Takes what `comparisons` does."""
    others = range(1, len(names)) if others is None else others
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for name in GROUPED_BY:
        members_of = groups(table, name)
        if len(members_of) < 2:
            continue
        pairs = [(group, its) for group, members in members_of.items() for model in others
                 if (its := _deciding_pair(table, model, members))]
        corrected = holm([its.found.p for _, its in pairs])
        for (group, its), p in zip(pairs, corrected, strict=True):
            found.setdefault(name, {}).setdefault(group, []).append(
                {"of": names[its.model], "with": names[0], **its.to_dict(p, len(pairs))})
    return found


def _deciding_pair(table: ScoreTable, model: int, members: Any) -> Pair | None:
    """The comparison of a group by the score that decides for most of its rows."""
    kinds = table.kinds_of(members)
    there = {key: None for key, metric in METRICS.items() if len(table.common(metric, 0, model, members))}
    metric = main_metric(there, [kind for kind, _ in kinds.most_common()])
    return pair(METRICS[metric], table, model, members) if metric else None


@dataclass(frozen=True)
class Pair:
    """A model's difference from another, usually the first, in one metric."""

    metric: Metric
    model: int
    of: float
    with_: float
    found: Difference
    same: str
    left_out: int
    first: int = 0

    def to_dict(self, p: float, tests: int) -> dict[str, Any]:
        """The comparison as in scores.json, without the names of the two models.

        Args:
            p: corrected for the number of `tests`.
        """
        decided = verdict(self.metric, self.of, self.with_, self.found, p)
        needed = self.found.rows_needed
        open_ = decided == UNKNOWN and needed is not None and needed > self.found.rows
        found = {"metric": self.metric.key, "score": rounded(self.of), "other": rounded(self.with_),
                 "difference": rounded(self.found.value), "low": rounded(self.found.low),
                 "high": rounded(self.found.high), "p": p, "p_uncorrected": self.found.p, "tests": tests,
                 "rows": self.found.rows, "left_out": self.left_out, "rows_needed": needed if open_ else None,
                 "verdict": decided, "same": self.same == SAME_ANSWERS,
                 "same_scores": self.same == SAME_SCORES}
        return {**found, "sentence": sentence(found)}


def pair(metric: Metric, table: ScoreTable, model: int, members: Any = None, with_: int = 0) -> Pair | None:
    """A model compared with another, in all rows or in `members`. None if there is nothing to compare: a loss a token
    means nothing beside that of a model whose tokens are longer or shorter."""
    common = table.common(metric, with_, model, members)
    if not len(common) or (metric.key in PER_TOKEN and not (table.same_tokens(model) and table.same_tokens(with_))):
        return None
    first, second = table.counts(metric, with_, common), table.counts(metric, model, common)
    same = ""
    if with_ == 0 and table.same_as_first(metric, model, common):
        same = SAME_ANSWERS
    elif (first == second).all():
        same = SAME_SCORES
    return Pair(metric, model, float(metric.score(second.sum(0))), float(metric.score(first.sum(0))),
                 compare(second, first, metric), same, table.left_out(metric, with_, model), with_)


def rounded(value: float) -> float | None:
    """Six digits behind the point, more than any score means; None for what has no bound."""
    return round(value, 6) if math.isfinite(value) else None
