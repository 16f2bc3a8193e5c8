"""The plan's rows and steps are those of the run, on real sets: long rows, packed or padded, with and without a test
file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.machines import machine
from support.tiers import first_fast

from slmstudio.core import jobs
from slmstudio.core.data import reader
from slmstudio.core.model import facts
from slmstudio.core.run import folder
from slmstudio.core.run.planning import plan_inputs, planner, row_counts
from slmstudio.worker.runtime.context import JobContext
from slmstudio.worker.training import train

ROWS = 14
SMALL = {"lora_rank": 2, "lora_alpha": 4, "sample_max_tokens": 0, "threads": 1, "epochs": 1.0,
         "eval_steps": 100, "save_steps": 100, "learning_rate": 1e-4}


def as_it_is(place: int, row: dict) -> dict:
    return row


def as_extracts(place: int, row: dict) -> dict:
    """Of a passage as much as the tiny model can read, and sometimes more."""
    return {**row, "input": row["input"][:30 * (place % 7)]}


def as_text(place: int, row: dict) -> dict:
    return {"text": "\n".join(map(str, row.values()))}


def as_pair(place: int, row: dict) -> dict:
    return {"prompt": row["instruction"], "chosen": row["output"] * (1 + 9 * (place % 3)), "rejected": "नहीं।"}


def as_labelled(place: int, row: dict) -> dict:
    return {"prompt": row["instruction"], "completion": row["output"], "label": bool(place % 2)}


@pytest.mark.parametrize(("name", "shape", "chosen"), first_fast([
    ("xquad_hi_instructions", as_extracts, {"max_length": 512, "packing": False}),
    ("gsm8k_train", as_it_is, {"max_length": 300, "overlong_rows": "leave_out"}),
    ("gsm8k_train", as_text, {"max_length": 128, "eval_fraction": 0.3}),
    ("xquad_hi_instructions", as_extracts, {"max_length": 512, "eval_file": True, "micro_batch_size": 3}),
    ("gsm8k_train", as_it_is, {"max_length": 256}),
    ("gsm8k_train", as_it_is, {"max_length": 256, "completion_only_loss": False, "eval_fraction": 0.0}),
    ("gsm8k_train", as_it_is, {"max_length": 300, "overlong_rows": "cut"}),
    ("xquad_hi_instructions", as_pair, {"max_length": 192}),
    ("xquad_hi_instructions", as_pair, {"max_length": 192, "overlong_rows": "leave_out"}),
    ("xquad_hi_instructions", as_labelled, {"max_length": 192, "micro_batch_size": 2}),
], fast=4))
def test_the_plans_rows_and_steps_are_those_of_the_run(name, shape, chosen, data_dir, tmp_path, tiny_model,
                                                       studio_home):
    lines = (data_dir / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()

    def written(to: str, some: list[str]) -> Path:
        rows = [shape(place, json.loads(line)) for place, line in enumerate(some)]
        (tmp_path / to).write_text("".join(json.dumps(row) + "\n" for row in rows))
        return tmp_path / to

    dataset = reader.read_dataset(written("rows.jsonl", lines[:ROWS]))
    test = written("test.jsonl", lines[ROWS:ROWS + 3]) if chosen.pop("eval_file", None) else None
    model, overrides = facts.read_model(tiny_model), {**SMALL, **chosen}
    measured = plan_inputs.measure_rows(dataset, model, overrides)
    config = planner.configure(plan_inputs.PlanInputs(dataset, model, machine(), test, overrides, measured))
    counts = row_counts.count(dataset.records, measured, config)

    created = folder.create(config, tmp_path / "runs")
    job = JobContext(created.folder, created.request())
    result = train.run(job)
    events = list(jobs.Job(job.folder).events())
    plan = next(event for event in events if event["type"] == "plan")
    told = {"cut": "rows_cut", "leave_out": "rows_overlong"}[config.overlong_rows]
    cut = sum(event.get("cut") or event["overlong"] for event in events if event.get("code") == told)
    assert (counts.learned, counts.steps, counts.exact) == (plan["train_rows"], plan["total_steps"], True)
    assert counts.steps == result["steps"]
    assert test or counts.evaluated == plan["eval_rows"]
    assert (counts.cut > 0) == (cut > 0) and counts.learned > 0
    assert config.overlong_rows == "cut" or (counts.left_out == counts.cut > 0)
