"""Several runs side by side: losses, scores, time, and only the fields in which they differ; and a paired test of their
answers to the same rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slmstudio.core.errors import UserError
from slmstudio.core.evaluation import comparability
from slmstudio.core.evaluation.comparability import Evaluated
from slmstudio.core.evaluation.paired import ComparedRun, Paired, Progress, compare_runs
from slmstudio.core.files import an_object, finite, objects
from slmstudio.core.i18n import join_sentences, noop, ntr, number_text, tr
from slmstudio.core.report.evaluations import Evaluation, benchmark_results, interval, metric_name, written
from slmstudio.core.report.gather import Facts, gather
from slmstudio.core.report.text import exact, rounded
from slmstudio.core.run import adjust
from slmstudio.core.run.config import label
from slmstudio.core.run.config_file import differences
from slmstudio.core.run.run_fields import write
from slmstudio.core.units import format_duration, format_energy

# -- In what one run differs from another, in words: what it learned from, how, and what came of it.

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


@dataclass(frozen=True)
class Comparison:
    """Runs as they are compared.

    Attributes:
        runs: what `slmstudio compare --json` says about each; by its "label" no two are the same.
        differences: (field, its value in each run), of the values that were used.
        words: in what each of the others differs from the first run, in sentences.
        warnings: why their scores don't compare, in sentences.
        paired: each run's tuned model against that of the first run, on the rows and questions that both answered.
    """

    runs: list[dict[str, Any]]
    differences: list[tuple[str, list[Any]]]
    words: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    paired: Paired = field(default_factory=Paired)

    def to_dict(self) -> dict[str, Any]:
        rows = self.paired.rows
        return {"runs": self.runs, "differences": [
            {"field": name, "label": label(name), "values": values} for name, values in self.differences],
            "words": self.words, "warnings": self.warnings,
            "paired": {"rows": len(rows) if rows else 0, "remarks": self.paired.remarks,
                       "comparisons": self.paired.comparisons}}

    def rows(self) -> list[tuple[str, ...]]:
        """Lines of a table: what, and a cell for each run."""
        lines = [(tr(label), *(_cell(run, key) for run in self.runs)) for key, label in _FIGURES]
        scores = dict.fromkeys((model, metric) for run in self.runs for model, found in run["scores"].items()
                               for metric in found)
        for model, metric in scores:
            found = [(run["scores"].get(model) or {}).get(metric) for run in self.runs]
            name = f"{metric_name(metric)}, {model}"
            lines.append((name, *(interval(score, metric) or "–" for score in found)))
        known = dict.fromkeys((title, model) for run in self.runs for title, found in run["benchmarks"].items()
                              for model in found)
        for title, model in known:
            each = [(run["benchmarks"].get(title) or {}).get(model) for run in self.runs]
            lines.append((f"{title}, {model}", *(interval(score, "accuracy") or "–" for score in each)))
        if any(run["scores"] for run in self.runs):
            lines.append((tr("Test set"), *(str(run["test"] or tr("not evaluated")) for run in self.runs)))
            lines.append((tr("Rows tested"), *(exact(run["rows"]) or "–" for run in self.runs)))
        return lines


def compare(folders: list[Path], progress: Progress | None = None) -> Comparison:
    """
    Args:
        progress: called with (rows scored, rows) of those that are compared one by one.

    Raises:
        UserError: fewer than two runs, or a folder that isn't a run.
    """
    if len(folders) < 2:
        raise UserError(tr("There is nothing to compare."), tr("Only one run was named."),
                        tr("Name two or more run folders."))
    facts = [gather(folder) for folder in folders]
    configs = [adjust.apply(each.run.config, each.run.folder).to_dict() for each in facts]
    chosen = comparability.choose([(each.evaluations, each.run.config.eval_file) for each in facts])
    benchmarks = [{str(result.get("title")): result for result in benchmark_results(each.evaluations)[0]}
                  for each in facts]
    runs = [_run(*each) for each in zip(facts, chosen, benchmarks, strict=True)]
    names = comparability.unique([run["name"] for run in runs])
    runs = [{**run, "label": name} for run, name in zip(runs, names, strict=True)]
    found = compare_runs([ComparedRun(name, main.folder) for name, main in zip(names, chosen, strict=True) if main], {
        title: [ComparedRun(name, results[title]["folder"]) for name, results in zip(names, benchmarks, strict=True)
                if title in results]
        for title in dict.fromkeys(title for results in benchmarks for title in results)
        if not {"shots", "data"} & {*_unlike(runs, title)}}, progress)
    first, *others = (Side(name, config, each.history.plan.get("train_rows"), main)
                      for name, config, each, main in zip(names, configs, facts, chosen, strict=True))
    words = [difference_text(each, first) for each in others]
    return Comparison(runs, differences(configs), words, _warnings(runs, [each for each in chosen if each]), found)


def _warnings(runs: list[dict[str, Any]], chosen: list[Evaluation]) -> list[str]:
    found = {comparability.ROWS: [tr("The runs were tested on different rows, so their scores can't be compared.")],
             comparability.HOW: [tr("The rows are the same, but they were asked with a different answer length or "
                                    "system prompt.")]}.get(comparability.difference(chosen), [])
    for title in dict.fromkeys(title for run in runs for title in run["benchmarks"]):
        if unlike := _unlike(runs, title):
            what = ", ".join(tr(_ASKED[key]) for key in unlike)
            found.append(tr("{benchmark} wasn't asked in the same way, so its accuracies can't be compared. Different: "
                            "{differences}.", benchmark=title, differences=what))
    return found


def _unlike(runs: list[dict[str, Any]], title: str) -> list[str]:
    return comparability.unlike([run["benchmarks_asked"][title] for run in runs if title in run["benchmarks"]])


_ASKED = {"limit": noop("questions per subject"), "shots": noop("examples before a question"),
          "data": noop("where the questions are from"), "seed": noop("the seed that drew the questions")}


def _run(facts: Facts, main: Evaluation | None, benchmarks: dict[str, dict[str, Any]]) -> dict[str, Any]:
    speed = [value for value in facts.history.series["tokens_per_second"].y if math.isfinite(value)]
    test = (main.scores.get("test") or {}) if main else {}
    request = main.request if main else {}
    return {
        "run_dir": str(facts.run.folder), "name": facts.run.config.name, "state": facts.run.state,
        "model": facts.run.config.model, "steps": facts.run.steps, "train_loss": facts.run.train_loss,
        "eval_loss_before": facts.run.eval_loss_before, "eval_loss_after": facts.run.eval_loss_after,
        "seconds": round(facts.run.seconds, 3),
        "tokens_per_second": round(sum(speed) / len(speed), 1) if speed else None,
        "joules": facts.run.energy.joules if facts.run.energy else None,
        "evaluation": str(main.folder) if main else None,
        **{key: test.get(name) for key, name in (("test", "path"), ("sha256", "sha256"), ("rows", "rows"))},
        **{key: request.get(key) for key in ("limit", "seed", "system", "max_new_tokens")},
        "scores": {str(model.get("name")): model.get("scores") or {} for model in main.models} if main else {},
        "benchmarks": {title: {str(model.get("name")): model.get("accuracy") for model in each.get("models") or []}
                       for title, each in benchmarks.items()},
        "benchmarks_asked": {title: comparability.benchmark_asked(*(each.get(key) for key in _ASKED))
                             for title, each in benchmarks.items()},
    }


_FIGURES = (("state", noop("Outcome")), ("steps", noop("Steps")), ("train_loss", noop("Train loss, last")),
            ("eval_loss_before", noop("Held-out loss, before")), ("eval_loss_after", noop("Held-out loss, after")),
            ("seconds", noop("Working time")), ("tokens_per_second", noop("Tokens/s, mean")),
            ("joules", noop("Energy")))


def _cell(run: dict[str, Any], key: str) -> str:
    value = run[key]
    if value is None:
        return "–"
    if key == "seconds":
        return format_duration(value)
    if key == "joules":
        return format_energy(value)
    return rounded(value) if "loss" in key else exact(value) or "–"
