"""Small runs of the tiny model on the processor, and what they tell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from slmstudio.core import jobs
from slmstudio.core.run import folder
from slmstudio.core.run.config import RunConfig
from slmstudio.worker.runtime.context import JobContext

SMALL = {"max_steps": 4, "micro_batch_size": 2, "gradient_accumulation_steps": 1, "max_length": 128,
         "learning_rate": 5e-3, "eval_fraction": 0.25, "eval_steps": 2, "save_steps": 2, "device": "cpu", "threads": 1,
         "sample_max_tokens": 0}


def maker(parent: Path, model: Path, rows: Path, **usual: Any) -> Callable[..., JobContext]:
    """What makes a run in a folder of its own: fields that it is given come before `usual`, and these before SMALL."""

    def make(**changes: Any) -> JobContext:
        job = folder.create(RunConfig(**{"name": "trial", "model": str(model), "train_file": str(rows),
                                         **SMALL, **usual, **changes}), parent / "runs")
        return JobContext(job.folder, job.request())

    return make


def events(job: JobContext, *kinds: str) -> list[dict[str, Any]]:
    return [event for event in jobs.Job(job.folder).events() if event["type"] in kinds]
