"""Which values of a run may be different when it is resumed."""

from __future__ import annotations

import pytest

from slmstudio.core.errors import UserError
from slmstudio.core.run import adjust, folder
from slmstudio.core.run.config import RunConfig


@pytest.fixture
def run(tmp_path):
    return folder.create(RunConfig(name="x", model="base", train_file="t.jsonl"), tmp_path).folder


def test_what_its_rows_and_checkpoints_depend_on_stays(run):
    wrong = {"lora_rank": 8, "method": "full", "target_modules": ["q_proj", "v_proj"], "model": "", "train_file": "u",
             "optimizer": "adafactor", "precision": "bf16", "seed": 7}
    with pytest.raises(UserError) as caught:
        adjust.consent(run, {**wrong, "max_length": 512})
    error = caught.value
    assert {problem.field for problem in error.problems} == wrong.keys()
    assert error.what == "These fields can't be changed in a run that already exists."
    assert f"slmstudio train {run / 'run.json'} --set lora_rank=8 --set method=full" in error.remedy
    assert "--set target_modules=q_proj,v_proj" in error.remedy and "--set max_length=512" in error.remedy
    assert "learning_rate" in error.remedy and "scratch_size" not in error.remedy
    assert not (run / adjust.FILE).exists()


def test_what_it_takes_to_continue_may_change(run):
    values = {"max_length": 512, "micro_batch_size": 1, "processes": 2, "heat_limit_c": 70, "lora_rank": 16}
    adjust.consent(run, values)
    assert adjust.load(run)["values"] == values, "a value that it has is none that changes"
