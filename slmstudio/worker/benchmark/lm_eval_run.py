"""Benchmarks of the field by lm_eval, the harness that papers quote: its prompts, its numbers, with our intervals."""

from __future__ import annotations

import logging
import random
import re
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from slmstudio.core import files, jobs
from slmstudio.core.errors import UserError
from slmstudio.core.evaluation import benchmark_store, scoring
from slmstudio.core.evaluation.request_check import too_few
from slmstudio.core.evaluation.scores.metrics import METRICS, Metric
from slmstudio.core.evaluation.scores.statistics import compare, interval
from slmstudio.core.evaluation.scores.verdicts import rounded
from slmstudio.core.evaluation.scoring import benchmark_sentence
from slmstudio.core.i18n import tr
from slmstudio.worker.answering.control import EvaluationControl
from slmstudio.worker.answering.model_loader import Models
from slmstudio.worker.benchmark.tasks import Tasks, write_tasks
from slmstudio.worker.runtime.context import JobContext

# -- What each model chose at each question of a benchmark: benchmark-rows.jsonl, from what gave the scores.

Samples = Mapping[str, list[dict[str, Any]]]
"""Task: its questions, as `benchmark.samples` has them."""


def _rows(tasks: Tasks, loaded: Mapping[str, Any], right: Mapping[str, dict[str, dict[int, float]]],
          given: Mapping[str, Samples]) -> Iterator[dict[str, Any]]:
    """
    Args:
        loaded: lm_eval's tasks, by name.
        right: model: subject: question: its score, 0 to 1.
        given: model: what it was scored by.
    """
    for name in tasks.names:
        task, subject = loaded[name], tasks.subjects.get(name, name)
        questions = task.eval_docs
        scores = {model: by_subject.get(subject, {}) for model, by_subject in right.items()}
        answers = {model: _by_question(samples.get(name, []), tasks.filter) for model, samples in given.items()}
        for number in sorted(set().union(*scores.values())):
            asked = _Question(task, questions[number], tasks.metric)
            there = [model for model in scores if number in scores[model] and number in answers[model]]
            yield {"subject": subject, "question": asked.text, "choices": asked.choices, "right": asked.right,
                   "answers": {model: asked.chosen(answers[model][number]) for model in there},
                   "scores": {model: scores[model][number] for model in there}}


def _by_question(samples: list[dict[str, Any]], wanted: str | None) -> dict[int, list[Any]]:
    """What was answered to each question, read in the way that counts."""
    return {int(each["doc_id"]): each["answers"] for each in samples
            if wanted is None or each.get("filter") in (wanted, None)}


class _Question:
    """One question as people read it, without the examples before it.

    Attributes:
        choices: empty if the answer is written.
        right: each right answer.
    """

    def __init__(self, task: Any, doc: Any, metric: str):
        self._by_length, self._kind = metric == "acc_norm", str(task.OUTPUT_TYPE)
        text = task.doc_to_text(doc)
        target = task.doc_to_target(doc)
        with_choices = task.get_config("doc_to_choice") is not None
        self._texts = [str(each) for each in task.doc_to_choice(doc)] if with_choices else []
        if isinstance(text, int):  # the choices are the beginnings of one sentence
            text, target = f"… {target}", text
        self.text = str(text)
        self.choices = [_with_its_text(each, self.text) for each in self._texts]
        self.right = [self._named(each) for each in (target if isinstance(target, list) else [target])]

    def _named(self, target: Any) -> str:
        if isinstance(target, int) and 0 <= target < len(self.choices):
            return self.choices[target]
        return self.choices[self._texts.index(target)] if target in self._texts else str(target)

    def chosen(self, answers: list[Any]) -> str:
        """What the score was given for: the likeliest choice, by length where the score is; or the text."""
        if self._kind != "multiple_choice":
            first: Any = answers
            while isinstance(first, list) and first:
                first = first[0]
            return first if isinstance(first, str) else ""
        likely = np.array([float(each[0]) for each in answers[:len(self._texts)]])
        if self._by_length:
            likely = likely / np.array([float(len(each)) for each in self._texts])
        return self.choices[int(np.argmax(likely))]


def _with_its_text(choice: str, question: str) -> str:
    """A choice that is a letter alone, with what comes after it in the question: "B. Mumbai"."""
    if len(choice) != 1 or not choice.isalnum():
        return choice
    found = re.search(rf"^\(?{re.escape(choice)}[.):]\s*\S.*$", question, re.MULTILINE)
    return found[0].strip() if found else choice


FOLDER = "benchmark"
Answers = dict[str, dict[int, float]]
"""Subject: question: 1 for right, 0 for wrong; or a share between, as the probability of what is true."""


@dataclass(frozen=True)
class Prepared:
    """A benchmark that can be asked.

    Attributes:
        loaded: lm_eval's own tasks, by name.
        chosen: the questions of each task; None for all.
    """

    tasks: Tasks
    loaded: dict[str, Any]
    manager: Any
    chosen: dict[str, list[int]] | None


def prepare(job: JobContext) -> Prepared:
    """Read the benchmark's data, and look whether it can be asked as the request wants.

    Raises:
        UserError: the data is incomplete, or too few for the examples, or the benchmark isn't known.
    """
    import datasets
    from lm_eval.tasks import TaskManager

    request = job.request["benchmark"]
    job.phase("reading the benchmark", request["name"])
    tasks = write_tasks(request["name"], Path(request["data"]) if request.get("data") else None, job.folder / FOLDER)
    for note in tasks.notes:
        job.warn("benchmark_data", note)
    datasets.disable_progress_bars()
    for name in ("lm_eval", "lm-eval", "datasets"):
        logging.getLogger(name).setLevel(logging.ERROR)
    manager = TaskManager(include_path=str(tasks.folder), include_defaults=False)
    loaded = dict(manager.load(list(tasks.names))["tasks"])
    check_shots(tasks.title, loaded, tasks.subjects, request.get("shots"))
    return Prepared(tasks, loaded, manager, _sample(loaded, request.get("limit"), job.request.get("seed") or 0))


def run(job: JobContext, models: Models, prepared: Prepared | None = None) -> dict[str, Any]:
    """Run the request's benchmark on every model, and write the results into scores.json.

    Each model's answers are kept as they come, so that a killed benchmark continues.

    Returns:
        What scores.json holds.

    Raises:
        UserError: the data is incomplete, or the benchmark isn't known, or a model can't be asked.
    """
    prepared = prepared or prepare(job)
    place = job.folder / FOLDER
    kept: dict[str, dict[str, Any]] = {}
    control = EvaluationControl(job, 0)
    try:
        for number, spec in enumerate(job.request["models"]):
            path = place / f"model-{number}.json"
            if (known := files.read_json(path)) is None:
                known = _run_model(job, models, spec, prepared, place / f"model-{number}", control, number)
                files.write_atomically(path, files.dump_pretty(known))
            kept[spec["name"]] = known
    finally:
        control.close()
    found = {name: {subject: {int(key): value for key, value in rows.items()}
                    for subject, rows in known["right"].items()} for name, known in kept.items()}
    scores = _write(job, _result(job.request["benchmark"], prepared.tasks, found))
    _keep_rows(job, prepared, found, {name: known["samples"] for name, known in kept.items()})
    return scores


def _keep_rows(job: JobContext, prepared: Prepared, found: dict[str, Answers], given: dict[str, Any]) -> None:
    """Tasks are programs of many people: one whose questions can't be read apart must not cost its scores."""
    try:
        rows = _rows(prepared.tasks, prepared.loaded, found, given)
        lines = [files.dump_line({"id": number, **row}) for number, row in enumerate(rows)]
        files.write_atomically(job.folder / benchmark_store.ROWS_FILE, b"".join(lines))
    except OSError:
        raise
    except Exception as error:
        job.warn("benchmark_rows", tr("{benchmark} has scores, but its questions can't be shown one by one: {reason}",
                                      benchmark=prepared.tasks.title, reason=f"{type(error).__name__}: {error}"))


def _run_model(job: JobContext, models: Models, spec: dict[str, Any], prepared: Prepared, cache: Path,
               control: EvaluationControl, number: int) -> dict[str, Any]:
    from slmstudio.worker.benchmark.language_model import harness_model

    job.phase(jobs.LOADING, spec["name"])
    model = models.open(spec)
    tasks = prepared.tasks
    phase = f"{tasks.title}: {spec['name']}"
    job.phase(phase)
    count = len(job.request["models"])

    def tell(done: int, left: int, before: int) -> None:
        total = left + before
        control.expect(total * count, total * number + before)
        control.gate(done / max(1, left), left, float(left), phase)

    asked = harness_model(model, spec["name"], tell, f"{cache}_rank0.db")
    try:
        results = evaluate(asked, prepared, job.request["benchmark"].get("shots"))
    finally:
        asked.close()
    return {"right": right(results, tasks), "versions": results["versions"],
            "harness": {task: dict(values) for task, values in results["results"].items()},
            "samples": samples(results)}


def evaluate(model: Any, prepared: Prepared, shots: int | None) -> dict[str, Any]:
    """lm_eval's own `simple_evaluate` on local data."""
    import lm_eval

    results = lm_eval.simple_evaluate(
        model=model, tasks=list(prepared.tasks.names), num_fewshot=shots, task_manager=prepared.manager,
        samples=prepared.chosen, bootstrap_iters=0, log_samples=True)
    assert results is not None
    return dict(results)


def _sample(tasks: dict[str, Any], limit: int | None, seed: int) -> dict[str, list[int]] | None:
    """`limit` questions of each subject, drawn by the seed; None for all."""
    if not limit:
        return None
    chosen = {}
    for name, task in tasks.items():
        size = len(list(task.eval_docs))
        chosen[name] = sorted(random.Random(f"{seed} {name}").sample(range(size), min(limit, size)))
    return chosen


def right(results: dict[str, Any], tasks: Tasks) -> Answers:
    """Which questions were answered rightly, by subject. Of several metrics the one that the field quotes counts."""
    found: Answers = defaultdict(dict)
    for task, rows in results["samples"].items():
        wanted = [row for row in rows if row.get("filter") in (tasks.filter, None) or tasks.filter is None]
        for row in wanted:
            found[tasks.subjects.get(task, task)][int(row["doc_id"])] = float(row[tasks.metric])
    return dict(found)


def samples(results: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """What each answer was judged by: the log-likelihoods of the choices, or the text."""
    return {task: [{"doc_id": row["doc_id"], "filter": row.get("filter"), "target": row["target"],
                    "answers": row["filtered_resps"]} for row in sorted(rows, key=lambda row: row["doc_id"])]
            for task, rows in results["samples"].items()}


def _result(request: dict[str, Any], tasks: Tasks, found: dict[str, Answers]) -> dict[str, Any]:
    names = list(found)
    metric = _metric(found)
    models = [{"name": name, "accuracy": _accuracy(_flat(answers), metric),
               "by_subject": {subject: _accuracy(list(rows.values()), metric)
                              for subject, rows in sorted(answers.items())}} for name, answers in found.items()]
    counts = {name: _counts(_flat(answers)) for name, answers in found.items()}
    pairs = [(name, compare(counts[name], counts[names[0]], metric)) for name in names[1:]]
    compared = [{"of": name, "with": names[0], "difference": pair.value, "low": rounded(pair.low),
                 "high": rounded(pair.high), "p": pair.p, "rows": pair.rows} for name, pair in pairs]
    return {"name": request["name"], "title": tasks.title, "shots": request.get("shots"),
            "limit": request.get("limit"), "models": models, **_data(request),
            "comparisons": compared, "sentence": benchmark_sentence(tasks.title, compared)}


def _metric(found: dict[str, Answers]) -> Metric:
    """How answers are counted: right or wrong; or, where a benchmark gives shares, as those are."""
    yes_or_no = all(value in (0, 1) for answers in found.values() for value in _flat(answers))
    return replace(METRICS["accuracy"], yes_or_no=yes_or_no)


def _data(request: dict[str, Any]) -> dict[str, Any]:
    """The folder that the user chose, or what was fetched."""
    if request.get("data"):
        return {"data": str(request["data"])}
    fetched = benchmark_store.find(request["name"])
    assert fetched is not None
    return {"data": fetched.sentence(), "data_sets": [
        {"dataset": each.dataset, "part": each.part, "revision": each.revision} for each in fetched.data_sets]}


def _flat(answers: Answers) -> list[float]:
    return [value for _, rows in sorted(answers.items()) for _, value in sorted(rows.items())]


def _counts(values: list[float]) -> Any:
    return np.array([[value, 1.0] for value in values])


def _accuracy(values: list[float], metric: Metric) -> dict[str, Any]:
    its = interval(_counts(values), metric)
    return {"value": its.value, "low": its.low, "high": its.high, "rows": its.rows}


def _write(job: JobContext, result: dict[str, Any]) -> dict[str, Any]:
    path = job.folder / scoring.SCORES
    scores = files.read_json(path) if job.request.get("test") else None
    if scores is None:
        scores = {"protocol": scoring.PROTOCOL, "created": time.time(), "test": None,
                  "models": [], "comparisons": [], "judge": None}
    scores["benchmarks"] = [result]
    files.write_atomically(path, files.dump_pretty(scores))
    return scores


def check_shots(title: str, tasks: Mapping[str, Any], subjects: Mapping[str, str], shots: int | None) -> None:
    """Look before any model is loaded: lm_eval stops with an assertion after it, or shows questions as examples.

    Args:
        tasks: as lm_eval has loaded them, by name; `subjects`: what people call them.
        shots: None if each task takes its own number.

    Raises:
        UserError: a task has too few.
    """
    counts = {name: _examples_wanted(task, shots) for name, task in tasks.items()}
    for wanted in sorted(set(counts.values()), reverse=True):
        few = too_few({subjects.get(name, name): _examples_available(task, shots) for name, task in tasks.items()
                       if counts[name] == wanted}, wanted)
        if few:
            raise UserError(tr("{benchmark} can't be run with that many examples.", benchmark=title), *few)


def _examples_wanted(task: Any, shots: int | None) -> int:
    own = task.get_config("num_fewshot")
    return int(own or 0) if shots is None or own == 0 else shots  # 0 of its own is never changed by lm_eval


def _examples_available(task: Any, shots: int | None) -> int:
    settings = getattr(task, "fewshot_cfg", None)
    if settings is None:
        return sys.maxsize  # a program of its own, which knows what it has
    by_rule = settings.split is None and settings.samples is None
    asks_its_examples = by_rule and not task.has_training_docs() and not (
        task.has_validation_docs() and task.has_test_docs())
    if asks_its_examples and shots:
        return 0
    count = len(settings.fewshot_indices or task.sampler.df)
    # lm_eval draws one more then, to have enough where the question itself is among them.
    return count - 1 if settings.split == task.config.test_split else count
