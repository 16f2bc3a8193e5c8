"""Several runs side by side: losses, scores, time, and only the fields in which they differ."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmstudio.core.report import evaluations
from slmstudio.core.report.gather import Facts, gather
from slmstudio.core.report.text import exact, rounded
from slmstudio.core.run import adjust
from slmstudio.core.run.field_names import LABELS, differences
from slmstudio.core.words import format_duration


@dataclass(frozen=True)
class Comparison:
    """Runs as they are compared.

    Attributes:
        runs: what `slmstudio compare --json` says of each.
        differences: (field, its value in each run), of the values that were used.
    """

    runs: list[dict[str, Any]]
    differences: list[tuple[str, list[Any]]]

    def to_dict(self) -> dict[str, Any]:
        return {"runs": self.runs, "differences": [
            {"field": name, "label": LABELS.get(name, name), "values": values} for name, values in self.differences]}

    def rows(self) -> list[tuple[str, ...]]:
        """Lines of a table: what, and a cell for each run."""
        lines = [(label, *(_cell(run, key) for run in self.runs)) for key, label in _FIGURES]
        scores = dict.fromkeys((model, metric) for run in self.runs for model, found in run["scores"].items()
                               for metric in found)
        for model, metric in scores:
            found = [(run["scores"].get(model) or {}).get(metric) for run in self.runs]
            name = f"{evaluations.metric_name(metric)}, {model}"
            lines.append((name, *(evaluations.interval(score, metric) or "–" for score in found)))
        known = dict.fromkeys((title, model) for run in self.runs for title, found in run["benchmarks"].items()
                              for model in found)
        for title, model in known:
            each = [(run["benchmarks"].get(title) or {}).get(model) for run in self.runs]
            lines.append((f"{title}, {model}", *(evaluations.interval(score, "accuracy") or "–" for score in each)))
        if any(run["scores"] for run in self.runs):
            lines.append(("Test set", *(str(run["test"] or "not evaluated") for run in self.runs)))
        return lines


def compare(folders: list[Path]) -> Comparison:
    """
    Raises:
        UserError: fewer than two runs, or a folder that is no run.
    """
    from slmstudio.core.errors import UserError

    if len(folders) < 2:
        raise UserError("There is nothing to compare.", "Only one run was named.", "Name two or more run folders.")
    facts = [gather(folder) for folder in folders]
    configs = [adjust.apply(each.run.config, each.run.folder).to_dict() for each in facts]
    return Comparison([_run(each) for each in facts], differences(configs))


def _run(facts: Facts) -> dict[str, Any]:
    main, benchmarks = evaluations.newest(facts.evaluations)
    speed = [value for value in facts.history.series["tokens_per_second"].y if math.isfinite(value)]
    return {
        "run_dir": str(facts.run.folder), "name": facts.run.config.name, "state": facts.run.state,
        "model": facts.run.config.model, "steps": facts.run.steps, "train_loss": facts.run.train_loss,
        "eval_loss_before": facts.run.eval_loss_before, "eval_loss_after": facts.run.eval_loss_after,
        "seconds": round(facts.run.seconds, 3),
        "tokens_per_second": round(sum(speed) / len(speed), 1) if speed else None,
        "test": (main.scores.get("test") or {}).get("path") if main else None,
        "scores": {str(model.get("name")): model.get("scores") or {} for model in main.models} if main else {},
        "benchmarks": {str(each.get("title")): {str(model.get("name")): model.get("accuracy")
                                                for model in each.get("models") or []} for each in benchmarks},
    }


_FIGURES = (("state", "Outcome"), ("steps", "Steps"), ("train_loss", "Train loss, last"),
            ("eval_loss_before", "Held-out loss, before"), ("eval_loss_after", "Held-out loss, after"),
            ("seconds", "Time of work"), ("tokens_per_second", "Tokens/s, mean"))


def _cell(run: dict[str, Any], key: str) -> str:
    value = run[key]
    if value is None:
        return "–"
    if key == "seconds":
        return format_duration(value)
    return rounded(value) if "loss" in key else exact(value) or "–"
