"""Rows and steps are counted once: the plan says what the worker will do."""

from __future__ import annotations

import dataclasses
import json

import pytest

from slmstudio.core.data import reader, split
from slmstudio.core.errors import UserError
from slmstudio.core.hardware.machine import read_machine
from slmstudio.core.model import facts
from slmstudio.core.run import curves
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.planning import plan_inputs, planner


@pytest.mark.parametrize(("rows", "micro", "accumulated", "epochs", "most", "steps"), [
    (270, 4, 2, 3.0, None, 102), (1, 4, 4, 1.0, None, 1), (100, 8, 1, 0.5, None, 7), (100, 8, 1, 0.5, 3, 3)])
def test_steps_are_counted_as_the_trainer_counts_them(rows, micro, accumulated, epochs, most, steps):
    config = RunConfig(name="n", model="m", train_file="t", micro_batch_size=micro, max_steps=most,
                       gradient_accumulation_steps=accumulated, epochs=epochs)
    assert curves.total_steps(config, rows) == steps


def test_the_plan_tells_the_rows_and_steps_that_are_made_of_the_file(tmp_path, tiny_model):
    """Many questions, of which some are asked three times: these stay together, so the share isn't met exactly."""
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps({"instruction": f"What is {i % 1700}?", "output": f"{i}"}) + "\n"
                            for i in range(2225)))
    dataset, model = reader.read_dataset(file), facts.read_model(tiny_model)
    config = planner.configure(plan_inputs.PlanInputs(dataset, model, read_machine(), None, {"eval_fraction": 0.03}))
    learned, held_back = curves.divided(dataset.records, config)
    assert not {row.prompt for row in learned} & {row.prompt for row in held_back} and len(held_back) > 40
    assert f" over {len(learned):,} rows." in config.reasons["epochs"]
    assert f" in {curves.total_steps(config, len(learned)):,} steps" in config.reasons["eval_steps"]


def test_a_test_file_leaves_all_rows_to_learn(tmp_path, rows_file):
    records = reader.read_dataset(rows_file).records
    config = RunConfig(name="n", model="m", train_file=str(rows_file), eval_file=str(rows_file))
    assert curves.divided(records, config) == (records, [])


def of_two_languages(tmp_path):
    """50 rows, of which 10 ask in Devanagari."""
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps({"instruction": f"{'प्रश्न' if i % 5 == 0 else 'Question'} {i}", "output": "A."})
                            + "\n" for i in range(50)))
    return reader.read_dataset(file)


def test_the_same_share_of_each_language_is_held_out(tmp_path, tiny_model):
    dataset, model = of_two_languages(tmp_path), facts.read_model(tiny_model)
    inputs = plan_inputs.PlanInputs(dataset, model, None, None, {"eval_fraction": 0.2, "split_by": "language"})
    config = planner.configure(inputs)
    learned, held_back = curves.divided(dataset.records, config)
    hindi = [row for row in held_back if row.prompt[0].startswith("प्रश्न")]
    assert (config.split_by, len(learned), len(held_back), len(hindi)) == ("language", 40, 10, 2)
    with pytest.raises(UserError) as caught:
        planner.configure(dataclasses.replace(inputs, overrides={"split_by": "colour"}))
    assert [(each.field, "one of rows, language, source" in each.message) for each in caught.value.problems] == [
        ("split_by", True)]


@pytest.mark.parametrize("seed", [0, 7])
def test_a_run_from_before_that_choice_keeps_its_split(tmp_path, seed):
    records = of_two_languages(tmp_path).records
    config = RunConfig.from_dict({"name": "n", "model": "m", "train_file": "t", "eval_fraction": 0.3,
                                  "split_seed": seed})
    assert curves.divided(records, config) == split.split_evenly(records, 0.3, seed)
