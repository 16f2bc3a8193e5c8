"""The evaluation that starts by itself when a training has ended well: its time, its job, and its first answers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from itertools import islice
from pathlib import Path
from typing import Any

from slmstudio.core import files, jobs
from slmstudio.core.errors import UserError
from slmstudio.core.evaluation import answer_rows
from slmstudio.core.evaluation.general import BASE, TUNED
from slmstudio.core.evaluation.scores.metrics import METRICS
from slmstudio.core.files import number
from slmstudio.core.hardware.machine import Machine, read_machine
from slmstudio.core.model.facts import ModelFacts, read_model
from slmstudio.core.run import time_estimate
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.run_fields import QUESTIONS
from slmstudio.core.run.time_estimate import TimeEstimate, Timing, answering

# -- How long an evaluation takes, before it begins: by what answers of such models took on this machine.

Pace = Callable[[int], TimeEstimate]
"""What so many answers of a model take."""
USUAL_TOKENS = 200.0
"""Of a question with its answer, where nobody knows."""


def paces(models: Iterable[Mapping[str, Any]], run: Path | None, general: bool = False) -> dict[str, Pace]:
    """By the model's name, what its answers take. A GGUF file is taken for as fast as a model folder beside it. Reads
    files, so not on the UI thread.

    Args:
        models: those of a request.
        run: whose rows are asked, or rows like them; None if there is none.
        general: whether base and tuned model are asked the general questions besides.

    Returns:
        Nothing where no model folder is among them.
    """
    machine, known, tokens = read_machine(), time_estimate.load(), _row_tokens(run)
    found: dict[str, Pace] = {}
    facts: ModelFacts | None = None
    tuned = False
    for model in sorted(models, key=lambda model: not model.get("model")):  # files last
        if model.get("model"):
            tuned = bool(model.get("adapter"))
            with contextlib.suppress(UserError):
                facts = read_model(Path(model["model"]))
        if facts is not None:
            read = tokens * (1 + (model.get("context") or {}).get("k", 0))  # each row that it is shown is read, too
            found[str(model["name"])] = partial(
                _answering, facts, machine, known, read, tuned, general and model["name"] in (BASE, TUNED))
    return found


def _answering(facts: ModelFacts, machine: Machine, known: Sequence[Timing], tokens: float, tuned: bool, general: bool,
               answers: int) -> TimeEstimate:
    found = answering(facts, machine, answers, tokens, tuned, known)
    return found.plus(time_estimate.general(facts, machine, known)) if general else found


def total(known: Mapping[str, Pace], names: Iterable[str], answers: int) -> TimeEstimate | None:
    """The time in which each of the models gives so many answers; None if nothing is known. A model that isn't among
    those known is taken for the slowest of them."""
    if not known:
        return None
    slowest = max(known.values(), key=lambda pace: pace(answers).likely)
    times = [known.get(name, slowest)(answers) for name in names]
    return reduce(TimeEstimate.plus, times) if times else None


def _row_tokens(run: Path | None) -> float:
    """Tokens of a row that a run learned, on average."""
    events = jobs.Job(run).events() if run is not None else ()
    plan = next((event for event in events if event.get("type") == "plan"), {})
    tokens, rows = number(plan, "tokens_per_epoch"), number(plan, "train_rows")
    return tokens / rows if tokens and rows else USUAL_TOKENS


# -- The first answers of an evaluation, as they are shown beside each other: before training and after.

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


SHOWN = 3
"""Held-out rows whose answers come first."""


def create(run: Path, cancelled: Callable[[], bool] | None = None) -> jobs.Job | None:
    """Its job, not started; None where nothing can be answered: the run learned plain text, or no row was held out.

    Reads the run's data: not for the UI thread.

    Raises:
        UserError: the run can't be read, or the job's folder can't be made.
        ReadingCancelled: `cancelled` said so.
    """
    from slmstudio.core.evaluation import request as requests  # here, since it needs what reads files

    if RunConfig.from_dict(jobs.Job(run).request()).objective == "text":
        return None
    asked = requests.propose(run, cancelled=cancelled)
    if asked.pop("no_test") is not None:
        return None
    # What is proposed is half as much again as the longest reference has.
    tokens = max(requests.SHORTEST, -(-asked["max_new_tokens"] * 2 // 96) * 32)
    return requests.create({**asked, "limit": QUESTIONS, "first": SHOWN, "max_new_tokens": tokens}, run.absolute())
