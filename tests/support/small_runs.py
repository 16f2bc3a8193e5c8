"""Small runs of the tiny model on the processor, what they learn, and what they tell."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
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


def rows_of(objective: str, questions: Iterable[tuple[str, str, str]]) -> list[dict[str, Any]]:
    """Rows of the kind that an objective learns, from questions with a good answer and a worse one."""
    if objective in ("dpo", "orpo"):
        return [{"prompt": asked, "chosen": good, "rejected": bad} for asked, good, bad in questions]
    if objective == "kto":
        return [{"prompt": asked, "completion": good if place % 2 else bad, "label": bool(place % 2)}
                for place, (asked, good, bad) in enumerate(questions)]
    if objective in ("text", "pretrain"):
        return [{"text": f"{asked} {good}"} for asked, good, _ in questions]
    return [{"instruction": asked, "output": good} for asked, good, _ in questions]


def write(file: Path, rows: Iterable[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return file


def events(job: JobContext, *kinds: str) -> list[dict[str, Any]]:
    return [event for event in jobs.Job(job.folder).events() if event["type"] in kinds]
