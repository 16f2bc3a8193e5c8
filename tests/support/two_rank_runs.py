"""Small runs for several ranks, and what they came to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from support import small_runs, tiny_model

from slmstudio.core import jobs
from slmstudio.core.run import folder
from slmstudio.core.run.config import RunConfig

SETTINGS = {
    "max_steps": 6, "micro_batch_size": 2, "gradient_accumulation_steps": 3, "max_length": 96, "learning_rate": 1e-2,
    "eval_fraction": 0.25, "eval_steps": 3, "save_steps": 100, "keep_checkpoints": 9, "threads": 1, "precision": "fp32",
    "use_best_checkpoint": False, "sample_max_tokens": 4, "device": "cpu", "heat_guard": "off",
}
"""23 rows in steps of 6: the last step of an epoch has fewer micro-batches, and its last one fewer rows."""


def rows_of(objective: str, parent: Path) -> Path:
    """A file of rows that the objective learns."""
    if objective == "sft":
        rows = [{**row, "output": row["output"] + f" {i}" * (i % 7)} for i, row in enumerate(tiny_model.ROWS * 3)]
    elif objective == "text":
        rows = [{"text": "The ward office opens at ten. " * count} for count in (1, 2, 3, 8, 5, 4, 2, 1, 6, 7, 3, 2)]
    else:
        rows = small_runs.rows_of(objective, [(
            f"How are you, number {i}?", f"Well, {i} times." + " yes" * (i % 4), "Who asks?" + " no" * (i % 3))
            for i in range(22)])
    return small_runs.write(parent / f"{objective}.jsonl", rows)


def make(model: Path, parent: Path, **changes: Any) -> Path:
    """A new run's folder."""
    file = rows_of(changes.get("objective", "sft"), parent)
    return folder.create(RunConfig(**{"name": "trial", "model": str(model), "train_file": str(file), **SETTINGS,
                                      **changes}), parent / "runs").folder


def events(run: Path, kind: str) -> list[dict[str, Any]]:
    return [event for event in jobs.Job(run).events() if event["type"] == kind]


def losses(run: Path) -> dict[str, dict[int, float]]:
    """Train losses and eval losses by step; the last word on each."""
    return {"train": {event["global_step"]: event["train_loss"] for event in events(run, "step")},
            "eval": {event["global_step"]: event["eval_loss"] for event in events(run, "eval")}}


def furthest(run: Path, other: Path) -> float:
    """The largest difference of two runs' losses, which must be of the same steps."""
    found, wanted = losses(run), losses(other)
    assert {kind: list(each) for kind, each in found.items()} == {kind: list(each) for kind, each in wanted.items()}
    return max(abs(found[kind][step] - loss) for kind, each in wanted.items() for step, loss in each.items())


def said_by(run: Path, ranks: int) -> str:
    """What the ranks have printed, to be shown where a test fails."""
    return "\n".join((run / f"rank{rank}.log").read_text(encoding="utf-8", errors="replace")[-2000:]
                     for rank in range(ranks) if (run / f"rank{rank}.log").exists())
