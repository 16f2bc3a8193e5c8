"""In what one run differs from another, in words: what it learned from, how, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmstudio.core.evaluation import comparability
from slmstudio.core.evaluation.comparability import Evaluated
from slmstudio.core.files import an_object, finite, objects
from slmstudio.core.i18n import join_sentences, noop, ntr, number_text, tr
from slmstudio.core.report.evaluations import metric_name, written
from slmstudio.core.run.config import label
from slmstudio.core.run.config_file import differences
from slmstudio.core.run.run_fields import write

MOST_OTHERS = 3
"""Fields that are named beside those that have a sentence of their own."""
NEAR = 0.03
"""Share by which a ratio may miss twice or half."""
ROWS = "rows"
_RATIOS = {
    ROWS: (noop("It learned from twice as many rows ({its} instead of {other})."),
           noop("It learned from half as many rows ({its} instead of {other})."),
           noop("It learned from more rows ({its} instead of {other})."),
           noop("It learned from fewer rows ({its} instead of {other}).")),
    "learning_rate": (noop("Its learning rate was twice as high ({its} instead of {other})."),
                      noop("Its learning rate was half as high ({its} instead of {other})."),
                      noop("Its learning rate was higher ({its} instead of {other})."),
                      noop("Its learning rate was lower ({its} instead of {other}).")),
}
"""Fields whose ratio says the most: twice, half, more and less."""
_PATHS = ("model", "train_file", "eval_file")


@dataclass(frozen=True)
class Side:
    """A run that is compared.

    Attributes:
        config: its fields by name, with what was changed while it trained.
        rows: how many it learned from, if that is known.
        evaluation: the one to compare by, or None.
    """

    name: str
    config: Mapping[str, Any]
    rows: int | None = None
    evaluation: Evaluated | None = None


def difference_text(run: Side, other: Side) -> str:
    """As in "B, compared with A: It learned from twice as many rows (300 instead of 150). Its chrF++ is …"."""
    found = [*_settings(run, other), *_scores(run.evaluation, other.evaluation)]
    return tr("{run}, compared with {other}: {differences}", run=run.name, other=other.name,
              differences=join_sentences(*found or [tr("Nothing that is known differs.")]))


def _settings(run: Side, other: Side) -> Iterator[str]:
    unlike = dict(differences([{ROWS: each.rows, **each.config} for each in (run, other)]))
    for name, (twice, half, more, less) in _RATIOS.items():
        value, before = map(finite, unlike.get(name, (None, None)))
        if value is None or not before:
            continue
        ratio, text = value / before, _whole if name == ROWS else write
        words = twice if abs(ratio / 2 - 1) < NEAR else half if abs(ratio * 2 - 1) < NEAR else \
            more if ratio > 1 else less
        yield tr(words, its=text(value), other=text(before))
        del unlike[name]
    unlike.pop(ROWS, None)
    for name, values in list(unlike.items())[:MOST_OTHERS]:
        texts = [write(value) or tr("not set") for value in values]
        names = [Path(text).name for text in texts]
        its, others = names if name in _PATHS and len({*names}) > 1 else texts
        yield tr("{field}: {its} (instead of {other}).", field=label(name), its=its, other=others)
    if len(unlike) > MOST_OTHERS:
        yield ntr("{n:,} more setting differs.", "{n:,} more settings differ.", len(unlike) - MOST_OTHERS)


def _whole(value: float) -> str:
    return number_text(int(value))


def _scores(run: Evaluated | None, other: Evaluated | None) -> Iterator[str]:
    if run is None or other is None:
        return
    if comparability.difference([run, other]) == comparability.ROWS:
        yield tr("The runs were tested on different rows, so their scores can't be compared.")
        return
    (metric, its), (known, others) = _main_score(run), _main_score(other)
    value, before = finite(its.get("value")), finite(others.get("value"))
    if metric != known or value is None or before is None:
        return
    change = {"metric": metric_name(metric), "change": written(abs(value - before), metric),
              "its": written(value, metric), "other": written(before, metric)}
    if change["its"] == change["other"]:
        yield tr("Its {metric} is the same ({its}).", **change)
        return
    yield (tr("Its {metric} is {change} higher ({its} instead of {other}).", **change) if value > before else
           tr("Its {metric} is {change} lower ({its} instead of {other}).", **change))
    if _holds(its, before) or _holds(others, value):
        yield tr("So small a difference can be chance.")


def _main_score(evaluation: Evaluated) -> tuple[str, dict[str, Any]]:
    """The score that the model in question is judged by: the metric, and {"value", "low", "high"}."""
    scores = evaluation.scores or {}
    name = comparability.result_name(comparability.model_names(scores))
    model = next((each for each in objects(scores.get("models")) if each.get("name") == name), {})
    found = an_object(model.get("scores"))
    marked = [str(each.get("metric")) for each in objects(scores.get("comparisons")) if each.get("main")]
    metric = next(iter([*marked, *found]), "")
    return metric, an_object(found.get(metric))


def _holds(score: Mapping[str, Any], value: float) -> bool:
    """Whether a score's interval has this value in it."""
    low, high = finite(score.get("low")), finite(score.get("high"))
    return low is not None and high is not None and low <= value <= high
