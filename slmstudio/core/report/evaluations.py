"""The evaluations of a run, and the one by which it is judged."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmstudio.core import formats, jobs
from slmstudio.core.evaluation.comparability import difference, is_own, model_names, preferred
from slmstudio.core.evaluation.scores.metrics import METRICS
from slmstudio.core.evaluation.scoring import SCORES, read_scores
from slmstudio.core.files import finite
from slmstudio.core.i18n import tr
from slmstudio.core.report import text
from slmstudio.core.report.text import exact


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of a run.

    Attributes:
        scores: scores.json; empty while it isn't done.
        state: of its job: "finished", "crashed", ...; "running" while there is no outcome.
        created: seconds since 1970.
        gap: what couldn't be used of scores.json, in a sentence, or "".
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

    def of_group(self, key: str, group: str) -> list[dict[str, Any]]:
        """Comparisons in a group of "by_category", "by_language" or "by_training"."""
        of_kind = (self.scores.get("group_comparisons") or {}).get(key.removeprefix("by_")) or {}
        return [each for each in of_kind.get(group) or [] if isinstance(each, dict)]

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
    return str(key) if known is None else tr(known.name) + ("" if known.higher_is_better else " ↓")


def read_evaluations(run: Path) -> list[Evaluation]:
    """All evaluations below a run's jobs/, the newest first.

    Raises:
        UserError: a newer program made one of them.
    """
    found = []
    for folder in sorted(path for path in (run / "jobs").glob("*") if path.is_dir()):  # held-out rows are there too
        request = formats.read("job", folder / jobs.REQUEST)
        if request is None or request.get("kind") != "evaluate":
            continue
        lost: list[str] = []
        scores = text.fit(read_scores(folder) or {}, text.SCORES, lost)
        if not lost and (folder / SCORES).exists() and not scores:
            lost.append(tr("everything"))
        ended = jobs.Job(folder).outcome()
        found.append(Evaluation(folder, request, scores, ended.state if ended else "running",
                                _created(scores, folder),
                                text.sentence(tr("{file} of {folder}", file=SCORES, folder=folder.name), lost)
                                if lost else ""))
    return sorted(found, key=lambda each: each.created, reverse=True)


def _created(scores: dict[str, Any], folder: Path) -> float:
    """When it was scored, as seconds or as ISO 8601; otherwise when it was asked for."""
    from datetime import datetime

    value = scores.get("created")
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value).timestamp()
        except ValueError:
            value = None
    return float(value) if isinstance(value, int | float) and 0 < value < time.time() + 86_400 \
        else (folder / jobs.REQUEST).stat().st_mtime


def main_evaluation(evaluations: list[Evaluation], eval_file: str | None) -> Evaluation | None:
    """The one to judge the run by (`same_test.preferred` says which); None if no test set was scored."""
    return next(iter(preferred(evaluations, eval_file)), None)


def why_main(main: Evaluation, evaluations: list[Evaluation], eval_file: str | None) -> str:
    """Why it is judged by this one, in a sentence; "" if there is no other."""
    if len([each for each in evaluations if each.models]) < 2:
        return ""
    rows, name = exact((main.scores.get("test") or {}).get("rows")) or "?", test_name(main)
    if is_own(main, eval_file):
        return tr("The run is judged by {rows} rows of {test_set}: the newest evaluation of its own held-out rows.",
                  rows=rows, test_set=name)
    return tr("The run is judged by {rows} rows of {test_set}: the newest of the evaluations with the most rows.",
              rows=rows, test_set=name)


def test_name(evaluation: Evaluation) -> str:
    path = (evaluation.scores.get("test") or {}).get("path")
    return Path(str(path)).name if path else tr("the test set")


def told_in_full(evaluations: list[Evaluation], main: Evaluation | None) -> list[Evaluation]:
    """The main one first, then the newest of each other test set; older ones with models that it lacks are among them.

    Args:
        evaluations: the newest first.
    """
    found: list[Evaluation] = [] if main is None else [main]
    for each in evaluations:
        if each.models and each is not main and not any(
                not difference([each, one]) and set(model_names(each.scores)) <= set(model_names(one.scores))
                for one in found):
            found.append(each)
    return found


def benchmark_results(evaluations: list[Evaluation]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """For each benchmark, the result from the most questions, or the newest of several; and all others.

    Returns:
        Results as in scores.json, each with its evaluation's "folder", when it was scored as "created", and the "seed"
        that drew its questions.
    """
    results = [{**result, "folder": each.folder, "created": each.created, "seed": each.request.get("seed")}
               for each in evaluations for result in each.benchmarks]
    best: dict[str, dict[str, Any]] = {}
    for result in results:
        known = best.setdefault(str(result.get("name")), result)
        if _questions(result) > _questions(known):
            best[str(result.get("name"))] = result
    chosen = list(best.values())
    return chosen, [result for result in results if not any(result is one for one in chosen)]


def _questions(result: dict[str, Any]) -> float:
    models = [each for each in result.get("models") or [] if isinstance(each, dict)]
    return max((finite((each.get("accuracy") or {}).get("rows")) or 0.0 for each in models), default=0.0)
