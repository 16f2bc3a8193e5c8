"""How long an evaluation takes, before it begins: by what answers of such models took on this machine."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from functools import partial, reduce
from pathlib import Path
from typing import Any

from slmstudio.core import jobs
from slmstudio.core.errors import UserError
from slmstudio.core.files import number
from slmstudio.core.hardware.machine import read_machine
from slmstudio.core.model.facts import ModelFacts, read_model
from slmstudio.core.run import timings
from slmstudio.core.run.time_estimate import TimeEstimate, answering

Pace = Callable[[int], TimeEstimate]
"""What so many answers of a model take."""
USUAL_TOKENS = 200.0
"""Of a question with its answer, where nobody knows."""


def paces(models: Iterable[Mapping[str, Any]], run: Path | None) -> dict[str, Pace]:
    """By the model's name, what its answers take. A GGUF file is taken for as fast as a model folder beside it. Reads
    files, so not on the UI thread.

    Args:
        models: those of a request.
        run: whose rows are asked, or rows like them; None if there is none.

    Returns:
        Nothing where no model folder is among them.
    """
    machine, known, tokens = read_machine(), timings.load(), _row_tokens(run)
    found: dict[str, Pace] = {}
    facts: ModelFacts | None = None
    tuned = False
    for model in sorted(models, key=lambda model: not model.get("model")):  # files last
        if model.get("model"):
            tuned = bool(model.get("adapter"))
            with contextlib.suppress(UserError):
                facts = read_model(Path(model["model"]))
        if facts is not None:
            found[str(model["name"])] = partial(answering, facts, machine, tokens=tokens, tuned=tuned, known=known)
    return found


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
