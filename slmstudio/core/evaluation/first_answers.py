"""The first answers of an evaluation, as they are shown beside each other: before training and after."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from slmstudio.core import files, jobs
from slmstudio.core.evaluation import answer_rows
from slmstudio.core.evaluation.advice.evidence import BASE, TUNED
from slmstudio.core.evaluation.scores.metrics import METRICS

SAME, CLOSE, REPEATS, CUT, OTHER = "same", "close", "repeats", "cut", "other"
"""What a tuned answer is, held against its reference."""
NEAR = 50.0
"""chrF++ from which an answer is close to its reference."""


@dataclass(frozen=True)
class Answers:
    """
    Attributes:
        before, tuned: "" while there is none.
        verdict: one of the words above; "" while nobody knows.
    """

    question: str
    reference: str = ""
    before: str = ""
    tuned: str = ""
    verdict: str = ""


def read(folder: Path, count: int) -> list[Answers]:
    """The first of an evaluation's rows.

    Raises:
        UserError: there are no answers, or they can't be read.
    """
    rows = answer_rows.read_rows(folder)
    found = []
    for row, finishes in islice(rows.scored_with_ends(), count):
        found.append(Answers(row.messages[-1]["content"] if row.messages else "", next(iter(row.references), ""),
                             row.answers.get(BASE, ""), row.answers.get(TUNED, ""),
                             _verdict(row.scores.get(TUNED), finishes.get(TUNED, ""))))
    return found


def written(folder: Path, count: int) -> list[dict[str, Any]]:
    """What the models of an evaluation at work have written of its first rows, as its events "answers" say it."""
    items = {item["id"]: item["messages"][-1]["content"] for item in islice(
        files.LineReader(folder / answer_rows.ITEMS).read(), count)}
    models = [str(model["name"]) for model in (files.read_json(folder / jobs.REQUEST) or {}).get("models") or ()]
    return [{"type": "answers", "model": name, "answers": [
        {"id": line["id"], "question": items[line["id"]], "answer": line["answer"]}
        for line in files.LineReader(folder / f"answers-{number}.jsonl").read() if line.get("id") in items]}
        for number, name in enumerate(models)]


def _verdict(scores: dict[str, float] | None, finish: str) -> str:
    if scores is None:
        return ""
    if finish == "repeat":
        return REPEATS
    if any(value >= 100 for key, value in scores.items() if METRICS[key].yes_or_no):
        return SAME
    if finish == "length":
        return CUT
    return CLOSE if scores.get("chrf", 0.0) >= NEAR else OTHER
