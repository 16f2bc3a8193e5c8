"""Rows and steps are counted once: the plan says what the worker will do."""

from __future__ import annotations

import json

import pytest

from slmstudio.core.data import reader
from slmstudio.core.hardware.machine import read_machine
from slmstudio.core.model import facts
from slmstudio.core.run import planner, schedule
from slmstudio.core.run.config import RunConfig


@pytest.mark.parametrize(("rows", "micro", "accumulated", "epochs", "most", "steps"), [
    (270, 4, 2, 3.0, None, 102), (1, 4, 4, 1.0, None, 1), (100, 8, 1, 0.5, None, 7), (100, 8, 1, 0.5, 3, 3)])
def test_steps_are_counted_as_the_trainer_counts_them(rows, micro, accumulated, epochs, most, steps):
    config = RunConfig(name="n", model="m", train_file="t", micro_batch_size=micro, max_steps=most,
                       gradient_accumulation_steps=accumulated, epochs=epochs)
    assert schedule.total_steps(config, rows) == steps


def test_the_plan_tells_the_rows_and_steps_that_are_made_of_the_file(tmp_path, tiny_model):
    """Many questions, of which some are asked three times: these stay together, so the share isn't met exactly."""
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps({"instruction": f"What is {i % 1700}?", "output": f"{i}"}) + "\n"
                            for i in range(2225)))
    dataset, model = reader.read_dataset(file), facts.read_model(tiny_model)
    config = planner.plan(planner.PlanRequest(dataset, model, read_machine(), None, {"eval_fraction": 0.03}))
    learned, held_back = schedule.divided(dataset.records, config)
    assert not {row.prompt for row in learned} & {row.prompt for row in held_back} and len(held_back) > 40
    assert f"passes over {len(learned):,} rows" in config.reasons["epochs"]
    assert f" in {schedule.total_steps(config, len(learned)):,} steps" in config.reasons["eval_steps"]


def test_a_test_file_leaves_all_rows_to_learn(tmp_path, rows_file):
    records = reader.read_dataset(rows_file).records
    config = RunConfig(name="n", model="m", train_file=str(rows_file), eval_file=str(rows_file))
    assert schedule.divided(records, config) == (records, [])
