"""Evaluations as a worker leaves them: items, answers and scores in a run's folder, with no model in sight."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from slmstudio.core import files, jobs
from slmstudio.core.evaluation import answer_rows, scoring
from slmstudio.core.jobs.job import Job
from slmstudio.core.jobs.outcome import Outcome
from slmstudio.core.run import folder
from slmstudio.core.run.config import RunConfig

PLACES = ("Pune", "Nashik", "Nagpur", "Thane", "Satara", "Latur")


def ended_run(name: str, model: Path, **fields: Any) -> Path:
    """The folder of a run that has ended, without the work."""
    job = folder.create(RunConfig(name=name, model=str(model), train_file="rows.jsonl", **fields))
    for number, loss in enumerate((2.0, 1.5, 1.2)):
        files.append_line(job.folder / jobs.EVENTS, {"protocol": 1, "time": 100.0 + number, "type": "eval",
                                                     "global_step": 20 * number, "eval_loss": loss})
    (job.folder / "adapter").mkdir()
    jobs.write_outcome(job.folder, Outcome("finished", result={"eval_loss_after": 1.2}))
    return job.folder


def items(count: int) -> list[dict[str, Any]]:
    """Questions in two languages and two categories, each with its reference."""
    found = []
    for number in range(count):
        place, hindi = PLACES[number % len(PLACES)], number % 2 == 0
        question = f"{place} में फ़ॉर्म {number} कहाँ मिलता है?" if hindi else f"Where do I get form {number} in {place}?"
        reference = f"फ़ॉर्म {number} {place} के वार्ड कार्यालय में खिड़की {number % 9} पर मिलता है।" if hindi else \
            f"Form {number} is given out at window {number % 9} of the {place} ward office."
        found.append({"id": number, "line": number + 1, "kind": "free",
                      "messages": [{"role": "user", "content": question}], "references": [reference], "choices": None,
                      "answer": None, "pattern": None, "category": "forms" if number % 3 else "places",
                      "language": "hi" if hindi else "en", "trained_on": False})
    return found


def base_answer(item: dict[str, Any]) -> str:
    return "I am sorry, I do not know." if item["id"] % 7 else item["references"][0]


def tuned_answer(item: dict[str, Any]) -> str:
    """Right but for the window in most rows, and lost in every eleventh."""
    if item["id"] % 11 == 0:
        return "Please call the helpline."
    words = item["references"][0].split()
    return " ".join("10" if word.isdigit() and place else word for place, word in enumerate(words))


RIVALS = {"prompt": (3, 60, 0), "examples": (2, 912, 8), "retrieval": (2, 505, 4)}
"""Of each that isn't tuned: one of how many answers is right, and what it is asked with: tokens and rows."""


def rival_answer(model: str, item: dict[str, Any]) -> str:
    return item["references"][0] if item["id"] % RIVALS[model][0] == 0 else "I am sorry, I do not know."


def write(run: Path, name: str = "evaluate-1", count: int = 24, models: Sequence[Any] = ("base", "tuned"), *,
          finished: bool = True, **request: Any) -> Job:
    """An evaluation of this run; one that isn't finished has the first half of its answers, and no scores."""
    rows = items(count)
    files.write_atomically(run / "tests.jsonl", b"".join(files.dump_line(
        {"messages": [*row["messages"], {"role": "assistant", "content": row["references"][0]}],
         "category": row["category"], "language": row["language"]}) for row in rows))
    job = Job.create(run / "jobs" / name, "evaluate", **{
        "test": str(run / "tests.jsonl"), "limit": None, "seed": 0, "benchmark": None, "train_file": None,
        "system": None, "max_new_tokens": 64, "precision": "fp32", "batch_size": None, "judge": None,
        "models": [each if isinstance(each, dict) else {"name": each, "model": each, "adapter": None, "gguf": None}
                   for each in models]} | request)
    answer(job.folder, [each["name"] if isinstance(each, dict) else each for each in models], rows,
           files.sha256_of(run / "tests.jsonl"), finished=finished)
    files.append_line(job.folder / jobs.EVENTS, {"protocol": 1, "time": 1.0, "type": "job_ended",
                                                 "state": "finished" if finished else "cancelled"})
    jobs.write_outcome(job.folder, Outcome("finished" if finished else "cancelled"))
    return job


def answer(folder: Path, models: Sequence[str], rows: list[dict[str, Any]], digest: str, *,
           finished: bool = True) -> None:
    """Put the answers of these models into an evaluation's folder, and their scores."""
    files.write_atomically(folder / answer_rows.ITEMS_FACTS, answer_rows.items_facts(digest, len(rows), thinks=False))
    files.write_atomically(folder / "items.jsonl", b"".join(map(files.dump_line, rows)))
    for number, model in enumerate(models):
        given = (base_answer if model == "base" else
                 partial(rival_answer, model) if model in RIVALS else tuned_answer)
        _, tokens, shown = RIVALS.get(model, (0, 40, 0))
        lines = [{"id": row["id"], "answer": given(row), "tokens": 12, "seconds": 0.5, "finish": "stop",
                  "prompt_tokens": tokens, "read_seconds": tokens / 1000, "context_rows": shown,
                  "memory_bytes": 1_200_000_000 + 200_000 * tokens,
                  "reference_nats": [30.0 if model == "base" else 9.0], "reference_tokens": [15],
                  "choice_logprobs": None, "skipped": None} for row in rows[:None if finished else len(rows) // 2]]
        files.write_atomically(folder / f"answers-{number}.jsonl", b"".join(map(files.dump_line, lines)))
    if finished:
        _score(folder)


_scored: dict[bytes, dict[str, Any]] = {}
"""Scores by items and answers: finding them takes longer than most of the tests that look at them."""


def _score(evaluation: Path) -> None:
    """The scores of these answers, which other tests may have had already."""
    request = files.read_json(evaluation / jobs.REQUEST) or {}
    names = [model["name"] for model in request["models"]]
    rows = [path.read_bytes() for path in (evaluation / "items.jsonl", *sorted(evaluation.glob("answers-*.jsonl")))]
    key = b"\0".join([files.dump_line({"names": names}), *rows])
    if key not in _scored:
        _scored[key] = scoring.score(evaluation)
        return
    scores = copy.deepcopy(_scored[key]) | {"created": time.time()}
    scores["test"]["path"] = request["test"]
    files.write_atomically(evaluation / scoring.SCORES, files.dump_pretty(scores))
