"""Several runs side by side: losses, scores, time, and only the fields in which they differ; and a paired test of their
answers to the same rows."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slmstudio.core.errors import UserError
from slmstudio.core.evaluation import comparability
from slmstudio.core.evaluation.paired import ComparedRun, Paired, Progress, compare_runs
from slmstudio.core.i18n import noop, tr
from slmstudio.core.report.difference import Side, difference_text
from slmstudio.core.report.evaluations import Evaluation, benchmark_results, interval, metric_name
from slmstudio.core.report.gather import Facts, gather
from slmstudio.core.report.text import exact, rounded
from slmstudio.core.run import adjust
from slmstudio.core.run.config import label
from slmstudio.core.run.config_file import differences
from slmstudio.core.units import format_duration, format_energy


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
