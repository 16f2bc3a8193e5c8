"""The evaluations of a run, as their folders tell about them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmstudio.core import formats, jobs
from slmstudio.core.evaluation.scoring import read_scores
from slmstudio.core.files import an_object, objects
from slmstudio.core.jobs.job import Job


@dataclass(frozen=True)
class Evaluation:
    """One evaluation.

    Attributes:
        state: "scored", "running", "new" (never started), or why there are no scores: an outcome's state.
        scores: what scores.json holds; None without it.
        created: when the request was written, seconds since 1970.
    """

    folder: Path
    request: dict[str, Any]
    state: str
    scores: dict[str, Any] | None
    created: float

    @property
    def job(self) -> Job:
        return Job(self.folder)

    @property
    def benchmark(self) -> str:
        """The name of the benchmark that the scores are of; "" if they are a test set's."""
        asked = self.request.get("benchmark") if not self.request.get("test") else None
        return str(asked.get("name") or "") if isinstance(asked, dict) else ""

    @property
    def resumable(self) -> bool:
        """Whether it ended early. Finished answers are kept, and it can continue from there."""
        return self.scores is None and self.state not in ("running", "new")

    def model_scores(self, name: str) -> dict[str, dict[str, Any]]:
        """Scores of a model by metric, each with value, low, high and rows."""
        for model in objects((self.scores or {}).get("models")):
            if model.get("name") == name:
                return usable(model.get("scores"))
        return {}

    def model_names(self) -> list[str]:
        return [str(model["name"]) for model in objects((self.scores or {}).get("models")) if "name" in model]

    def values(self) -> dict[str, Any]:
        """All scores as fields of the run: "tuned.chrf", or "mmlu.tuned.accuracy"."""
        before = f"{self.benchmark}." if self.benchmark else ""
        found = {f"{before}{name}.{metric}": score["value"] for name in self.model_names()
                 for metric, score in self.model_scores(name).items()}
        for result in objects((self.scores or {}).get("benchmarks")):  # asked for together with a test set
            for model in from_benchmark(result)["models"]:
                found |= {f"{result.get('name')}.{model['name']}.{metric}": score["value"]
                          for metric, score in usable(model["scores"]).items()}
        return found


def usable(scores: Any) -> dict[str, dict[str, Any]]:
    """Those of the scores that have a value."""
    if not isinstance(scores, dict):
        return {}
    return {str(metric): score for metric, score in scores.items()
            if isinstance(score, dict) and isinstance(score.get("value"), int | float)}


def from_benchmark(result: dict[str, Any]) -> dict[str, Any]:
    """A benchmark's result in the form of a test set's scores: subjects are its categories."""
    models = [{"name": model.get("name"), "rows": an_object(model.get("accuracy")).get("rows"),
               "scores": {"accuracy": model.get("accuracy")},
               "by_category": {subject: {"accuracy": score}
                               for subject, score in an_object(model.get("by_subject")).items()}}
              for model in objects(result.get("models"))]
    comparisons = []
    for each in objects(result.get("comparisons")):
        low, high = each.get("low"), each.get("high")
        known = isinstance(low, int | float) and isinstance(high, int | float)
        verdict = "better" if known and low > 0 else "worse" if known and high < 0 else "unknown"
        comparisons.append({**each, "metric": "accuracy", "main": True, "verdict": verdict,
                            "sentence": result.get("sentence") or ""})
    rows = max((model["rows"] for model in models if isinstance(model["rows"], int)), default=0)
    return {"test": {"path": result.get("data"), "sha256": None, "rows": rows, "kinds": {"choice": rows}},
            "models": models, "comparisons": comparisons[:1], "judge": None, "remarks": []}


def read_evaluation(folder: Path) -> Evaluation | None:
    """One evaluation; None for a folder that is none.

    Raises:
        UserError: a newer program made it.
    """
    path = folder / jobs.REQUEST
    request = formats.read("job", path)
    if request is None or request.get("kind") != "evaluate" or not isinstance(request.get("models"), list):
        return None
    scores = read_scores(folder)
    if scores is not None and not isinstance(scores.get("models"), list):
        scores = None
    elif scores is not None:
        results = objects(scores.get("benchmarks"))
        if scores["models"]:  # both may have been asked for: then the benchmark's sentence is below the scores
            remarks = scores.get("remarks")
            told = [str(each["sentence"]) for each in results if each.get("sentence")]
            scores = {**scores, "remarks": [*(remarks if isinstance(remarks, list) else []), *told]}
        else:
            scores = from_benchmark(results[0]) if results else None
    job = Job(folder)
    outcome = job.outcome()
    running = outcome is None and (folder / jobs.PROCESS).is_file()
    state = "running" if running else "scored" if scores else outcome.state if outcome else "new"
    return Evaluation(folder, request, state, scores, path.stat().st_mtime)


def read_evaluations(run_folder: Path) -> list[Evaluation]:
    """The evaluations of a run, newest first."""
    inner = run_folder / "jobs"
    found = [read_evaluation(folder) for folder in inner.glob("evaluate*")] if inner.is_dir() else []
    return sorted((each for each in found if each is not None), key=lambda each: each.created, reverse=True)
