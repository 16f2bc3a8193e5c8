"""The evaluations of a run: their scores as tables, and the rows that gained and lost most."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmstudio.core import formats, jobs
from slmstudio.core.evaluation.metrics import METRICS
from slmstudio.core.evaluation.score_table import LEARNED, NEW
from slmstudio.core.report import shapes
from slmstudio.core.report.text import Table, exact, finite

SCORES = "scores.json"


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of a run.

    Attributes:
        scores: scores.json; empty while it is not done.
        request: what was asked.
        state: of its job: "finished", "crashed", ...; "running" while there is no outcome.
        created: seconds since 1970.
        gap: what could not be used of scores.json, in a sentence, or "".
    """

    folder: Path
    request: dict[str, Any]
    scores: dict[str, Any]
    state: str
    created: float
    gap: str = ""

    @property
    def benchmarks(self) -> list[dict[str, Any]]:
        """Results of benchmarks: {"name", "title", "models", "comparisons", "sentence", ...}."""
        return [each for each in self.scores.get("benchmarks") or [] if isinstance(each, dict)]

    @property
    def models(self) -> list[dict[str, Any]]:
        return [model for model in self.scores.get("models") or [] if isinstance(model, dict)]

    @property
    def comparisons(self) -> list[dict[str, Any]]:
        return [each for each in self.scores.get("comparisons") or [] if isinstance(each, dict)]

    @property
    def main_comparisons(self) -> list[dict[str, Any]]:
        """Those in the score that was chosen to judge by; all of them where none is marked."""
        return [each for each in self.comparisons if each.get("main")] or self.comparisons

    @property
    def pair(self) -> tuple[str, str] | None:
        """Names of the model in question and of the one it is held against; None with a single model."""
        for each in self.main_comparisons:
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
        """All scores that a model has, the known ones in their order."""
        found = dict.fromkeys(name for model in self.models for name in model.get("scores") or {})
        return [*(name for name in METRICS if name in found), *(name for name in found if name not in METRICS)]

    @property
    def main_metric(self) -> str | None:
        """The score to judge by: the one that is marked, else the first there is."""
        compared = [str(each.get("metric")) for each in self.main_comparisons]
        return next(iter([*compared, *self.metrics]), None)


def metric_name(key: Any) -> str:
    """A score as people read it; an arrow down: lower is better."""
    known = METRICS.get(str(key))
    return str(key) if known is None else known.name + ("" if known.higher_is_better else " ↓")


def read_evaluations(run: Path) -> list[Evaluation]:
    """All evaluations below a run's jobs/, the newest first.

    Raises:
        UserError: a newer program made one of them.
    """
    found = []
    for folder in sorted(path for path in (run / "jobs").glob("*") if path.is_dir()):  # held-out rows lie there too
        request = formats.read("job", folder / jobs.REQUEST)
        if request is None or request.get("kind") != "evaluate":
            continue
        lost: list[str] = []
        scores = shapes.fit(formats.read("scores", folder / SCORES) or {}, shapes.SCORES, lost)
        if not lost and (folder / SCORES).exists() and not scores:
            lost.append("everything")
        ended = jobs.Job(folder).outcome()
        found.append(Evaluation(folder, request, scores, ended.state if ended else "running",
                                _created(scores, folder),
                                shapes.sentence(f"{SCORES} of {folder.name}", lost) if lost else ""))
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


def newest(evaluations: list[Evaluation]) -> tuple[Evaluation | None, list[dict[str, Any]]]:
    """The newest scored evaluation on a test set, and the newest result of each benchmark."""
    main = next((each for each in evaluations if each.models), None)
    benchmarks: dict[str, dict[str, Any]] = {}
    for each in evaluations:
        for result in each.benchmarks:
            benchmarks.setdefault(str(result.get("name")), {**result, "created": each.created})
    return main, list(benchmarks.values())


def benchmark_table(result: dict[str, Any]) -> Table:
    """A benchmark's accuracy, all in all and by subject, a column a model, each with its 95 % interval."""
    models = [each for each in result.get("models") or [] if isinstance(each, dict)]
    lines = [("All", [model.get("accuracy") for model in models])]
    lines += [(subject, [(model.get("by_subject") or {}).get(subject) for model in models])
              for subject in dict.fromkeys(name for model in models for name in model.get("by_subject") or {})]
    rows: list[tuple[Any, ...]] = [
        (name, *(_stacked(score, "accuracy") for score in scores),
         exact(next((score.get("rows") for score in scores if isinstance(score, dict)), None)))
        for name, scores in lines]
    names = [str(model.get("name")) for model in models]
    return Table(("% accuracy", *names, "Questions"), "w" + "s" * len(names) + "r", rows)


def benchmark_tone(result: dict[str, Any]) -> str:
    """Whether its intervals say that knowledge was lost ("bad") or gained ("ok")."""
    pairs = [(finite(each.get("low")), finite(each.get("high"))) for each in result.get("comparisons") or []]
    if any(high is not None and high < 0 for _, high in pairs):
        return "bad"
    return "ok" if any(low is not None and low > 0 for low, _ in pairs) else ""


def score_table(evaluation: Evaluation) -> Table:
    """A row a score, a column a model: scores with their 95 % intervals, rows, speed and length of answers."""
    models = evaluation.models
    rows: list[tuple[Any, ...]] = [
        (metric_name(key), *(_stacked((model.get("scores") or {}).get(key), key) for model in models))
        for key in evaluation.metrics]
    speeds = [model.get("speed") or {} for model in models]
    rows += [("Rows answered", *(exact(model.get("rows")) for model in models)),
             ("Rows skipped", *(exact(model.get("skipped")) for model in models)),
             ("Tokens a second", *(_one_digit(speed.get("tokens_per_second")) for speed in speeds)),
             ("Tokens an answer, mean", *(_one_digit(speed.get("answer_tokens")) for speed in speeds)),
             ("Answers cut at the limit", *(exact(speed.get("cut")) for speed in speeds))]
    return Table(("Score", *(str(model.get("name")) for model in models)), "w" + "s" * len(models), rows)


def group_table(evaluation: Evaluation, key: str, title: str) -> Table | None:
    """By "by_category", "by_language" or "by_training": the score to judge by, else the first that a group has.

    None where the rows are not tagged, or none was learned.
    """
    learned = {LEARNED: "yes", NEW: "no"} if key == "by_training" else {}
    models = evaluation.models
    rows: list[tuple[Any, ...]] = []
    for group in dict.fromkeys(group for model in models for group in model.get(key) or {}):
        found = [(model.get(key) or {}).get(group) or {} for model in models]
        present = [name for name in (evaluation.main_metric, *evaluation.metrics) if any(name in one for one in found)]
        if present and present[0]:
            metric = present[0]
            count = next((one[metric].get("rows") for one in found if isinstance(one.get(metric), dict)), None)
            rows.append((learned.get(group, group), metric_name(metric),
                         *(_stacked(one.get(metric), metric) for one in found), exact(count)))
    names = [str(model.get("name")) for model in models]
    return Table((title, "Score", *names, "Rows"), "ww" + "s" * len(names) + "r", rows) if rows else None


def comparison_table(evaluation: Evaluation) -> Table | None:
    """Every comparison with its difference, interval, p value and verdict."""
    words = {"better": "better", "worse": "worse", "unknown": "not shown"}
    rows = [(f"{each.get('of')} against {each.get('with')}",
             metric_name(each.get("metric")) + (", the one to judge by" if each.get("main") else ""),
             _difference(each), p_value(each.get("p")), exact(each.get("rows")), exact(each.get("rows_needed")),
             words.get(str(each.get("verdict")), each.get("verdict"))) for each in evaluation.comparisons]
    head = ("Compared", "Score", "Difference", "p", "Rows", "Rows needed", "Verdict")
    return Table(head, "wwsnrrl", rows) if rows else None


def _stacked(score: Any, key: str) -> str | None:
    """A score above its interval."""
    written = interval(score, key)
    return None if written is None else written.replace(" (", "\n").rstrip(")")


def interval(score: Any, key: str) -> str | None:
    """ "52.4 (49.1 to 55.6)"; None where there is no such score."""
    if not isinstance(score, dict) or finite(score.get("value")) is None:
        return None
    value, low, high = (_written(score.get(name), key) for name in ("value", "low", "high"))
    return f"{value} ({low} to {high})" if low and high else value


def _written(value: Any, key: str, sign: str = "") -> str | None:
    """A score with as many digits as mean something: three of a loss, one of all others."""
    if finite(value) is None:
        return None
    text = f"{value:{sign},.{3 if key == 'loss' else 1}f}"
    return text.replace("-", "−")


def p_value(value: Any) -> str | None:
    if finite(value) is None:
        return None
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _difference(each: dict[str, Any]) -> str | None:
    """A difference above its interval."""
    metric = str(each.get("metric"))
    value, low, high = (_written(each.get(name), metric, "+") for name in ("difference", "low", "high"))
    return f"{value}\n{low} to {high}" if low and high else value


def _one_digit(value: Any) -> str | None:
    return f"{value:,.1f}" if finite(value) is not None else None
