"""The evaluation that starts by itself when a training has ended well: a few held-out rows, the first of them shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from slmstudio.core import jobs
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.run_fields import QUESTIONS

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
