"""The evaluations of a run: their scores as tables, and the rows that gained and lost most."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmstudio.core import files, jobs
from slmstudio.core.report.text import Table, exact

SCORES = "scores.json"
SHOWN_ROWS = 10
METRICS = {
    "loss": "Loss, nats per token ↓", "perplexity": "Perplexity ↓", "exact": "Exact match, %",
    "normalised": "Match, normalised, %", "numeric": "Number right, %", "accuracy": "Accuracy, %",
    "accuracy_norm": "Accuracy by length, %", "chrf": "chrF++", "bleu": "BLEU", "rouge_l": "ROUGE-L",
}
"""Scores by their key; an arrow down: lower is better."""
LOWER_IS_BETTER = frozenset({"loss", "perplexity"})


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of a run.

    Attributes:
        scores: scores.json; empty while it is not done.
        request: what was asked.
        state: of its job: "finished", "crashed", ...; "running" while there is no outcome.
        created: seconds since 1970.
    """

    folder: Path
    request: dict[str, Any]
    scores: dict[str, Any]
    state: str
    created: float

    @property
    def benchmark(self) -> str:
        """Name of the benchmark, or "" for a test set."""
        found = self.request.get("benchmark")
        return str(found.get("name") or "") if isinstance(found, dict) else ""

    @property
    def models(self) -> list[dict[str, Any]]:
        return [model for model in self.scores.get("models") or [] if isinstance(model, dict)]

    @property
    def comparisons(self) -> list[dict[str, Any]]:
        return [each for each in self.scores.get("comparisons") or [] if isinstance(each, dict)]

    @property
    def pair(self) -> tuple[str, str] | None:
        """Names of the model in question and of the one it is held against; None with a single model."""
        for each in self.comparisons:
            return str(each.get("of")), str(each.get("with"))
        names = [str(model.get("name")) for model in self.models]
        return (names[1], names[0]) if len(names) > 1 else None

    def score(self, model: str, metric: str) -> dict[str, Any] | None:
        """`{"value", "low", "high", "rows"}` of a model, or None."""
        for each in self.models:
            if each.get("name") == model:
                found = (each.get("scores") or {}).get(metric)
                return found if isinstance(found, dict) else None
        return None

    @property
    def metrics(self) -> list[str]:
        """All metrics that a model has, the known ones in their order."""
        found = dict.fromkeys(name for model in self.models for name in model.get("scores") or {})
        return [*(name for name in METRICS if name in found), *(name for name in found if name not in METRICS)]

    @property
    def main_metric(self) -> str | None:
        """The metric by which rows are ranked: the first one compared, else the last one there is."""
        compared = [str(each.get("metric")) for each in self.comparisons]
        return next(iter(compared), None) or next(reversed(self.metrics), None)


def read_evaluations(run: Path) -> list[Evaluation]:
    """All evaluations below a run's jobs/, the newest first."""
    found = []
    for folder in sorted((run / "jobs").glob("*")):
        request = files.read_json(folder / jobs.REQUEST)
        if request is None or request.get("kind") != "evaluate":
            continue
        scores = files.read_json(folder / SCORES) or {}
        ended = jobs.Job(folder).outcome()
        found.append(Evaluation(folder, request, scores, ended.state if ended else "running",
                                _created(scores, folder)))
    return sorted(found, key=lambda each: each.created, reverse=True)


def _created(scores: dict[str, Any], folder: Path) -> float:
    """When it was scored, as seconds or as ISO 8601; else when it was asked for."""
    from datetime import datetime

    value = scores.get("created")
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value).timestamp()
        except ValueError:
            value = None
    return float(value) if isinstance(value, int | float) and 0 < value < time.time() + 86_400 \
        else (folder / jobs.REQUEST).stat().st_mtime


def newest(evaluations: list[Evaluation]) -> tuple[Evaluation | None, list[Evaluation]]:
    """The newest scored evaluation on a test set, and the newest one of each benchmark."""
    done = [each for each in evaluations if each.models]
    main = next((each for each in done if not each.benchmark), None)
    benchmarks: dict[str, Evaluation] = {}
    for each in done:
        if each.benchmark:
            benchmarks.setdefault(each.benchmark, each)
    return main, list(benchmarks.values())


def score_table(evaluation: Evaluation) -> Table:
    """A row a model: its scores with their 95 % intervals, rows, speed and length of answers."""
    metrics = evaluation.metrics
    rows = []
    for model in evaluation.models:
        speed = model.get("speed") or {}
        scores = model.get("scores") or {}
        rows.append((model.get("name"), *(interval(scores.get(name)) for name in metrics), exact(model.get("rows")),
                     exact(model.get("skipped")), _one_digit(speed.get("tokens_per_second")),
                     _one_digit(speed.get("answer_tokens"))))
    head = ("Model", *(METRICS.get(name, name) for name in metrics), "Rows", "Skipped", "Tokens/s", "Tokens an answer")
    return Table(head, "w" + "r" * (len(head) - 1), rows)


def group_table(evaluation: Evaluation, key: str, title: str) -> Table | None:
    """Scores by "by_category" or "by_language"; None where the rows are not tagged."""
    metrics = evaluation.metrics
    rows = []
    for name in dict.fromkeys(group for model in evaluation.models for group in model.get(key) or {}):
        for model in evaluation.models:
            scores = (model.get(key) or {}).get(name)
            if isinstance(scores, dict):
                count = next((each.get("rows") for each in scores.values() if isinstance(each, dict)), None)
                rows.append((name, model.get("name"), *(interval(scores.get(each)) for each in metrics), exact(count)))
    head = (title, "Model", *(METRICS.get(name, name) for name in metrics), "Rows")
    return Table(head, "ww" + "r" * (len(head) - 2), rows) if rows else None


def comparison_table(evaluation: Evaluation) -> Table | None:
    """Every comparison with its difference, interval, p value and verdict."""
    words = {"better": "better", "worse": "worse", "unknown": "not shown"}
    rows = [(f"{each.get('of')} against {each.get('with')}", METRICS.get(str(each.get("metric")), each.get("metric")),
             signed(each.get("difference")), _range(each), p_value(each.get("p")), exact(each.get("rows")),
             exact(each.get("rows_needed")), words.get(str(each.get("verdict")), each.get("verdict")))
            for each in evaluation.comparisons]
    head = ("Compared", "Score", "Difference", "95 % interval", "p", "Rows", "Rows that would show it", "Verdict")
    return Table(head, "wlrrrrrl", rows) if rows else None


def interval(score: Any) -> str | None:
    """ "52.4 (49.1 to 55.6)"; None where there is no such score."""
    if not isinstance(score, dict) or not _is_number(score.get("value")):
        return None
    digits = 3 if max(abs(score["value"]), 0) < 10 else 1
    text = f"{score['value']:,.{digits}f}"
    if _is_number(score.get("low")) and _is_number(score.get("high")):
        text += f" ({score['low']:,.{digits}f} to {score['high']:,.{digits}f})"
    return text


def signed(value: Any) -> str | None:
    return f"{value:+,.{3 if abs(value) < 1 else 1}f}".replace("-", "−") if _is_number(value) else None


def p_value(value: Any) -> str | None:
    if not _is_number(value):
        return None
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _range(each: dict[str, Any]) -> str | None:
    low, high = signed(each.get("low")), signed(each.get("high"))
    return f"{low} to {high}" if low and high else None


def _one_digit(value: Any) -> str | None:
    return f"{value:,.1f}" if _is_number(value) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
