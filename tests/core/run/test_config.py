"""A configuration survives its file, and everything wrong with it is said at once."""

from __future__ import annotations

import hashlib
import json

import pytest

from slmstudio.core.errors import UserError
from slmstudio.core.run import config_file, folder
from slmstudio.core.run.config import FIELDS, RunConfig


def minimal(**changes):
    return RunConfig(name="trial", model="/m", train_file="/t.jsonl", **changes)


def test_round_trip_through_a_file(tmp_path):
    config = minimal(target_modules=["q_proj", "v_proj"], max_steps=7, reasons={"max_steps": "why"})
    file = tmp_path / "run.json"
    file.write_text(json.dumps(config.to_dict()))
    assert config_file.load(file) == config


@pytest.mark.parametrize("chosen", [["seed", ["seed"], {"name": "seed"}, 5, None, "unknown"], {"seed": 1}, "seed"])
def test_what_is_no_name_is_not_chosen(chosen):
    config = RunConfig.from_dict({**minimal().to_dict(), "chosen": chosen})
    assert config.chosen == (["seed"] if isinstance(chosen, list) else [])


@pytest.mark.parametrize("reasons", [None, 5, ["why"], "why", {"epochs": ["why"], "seed": "why"}])
def test_what_is_no_sentence_is_no_reason(reasons):
    config = RunConfig.from_dict({**minimal().to_dict(), "reasons": reasons})
    assert config.reasons == ({"seed": "why"} if isinstance(reasons, dict) else {})


def test_every_field_has_a_sentence():
    names = set(RunConfig.__dataclass_fields__) - {"reasons", "chosen"}
    assert set(FIELDS) == names
    assert all(text.endswith(".") for text in (about.help for about in FIELDS.values()))


def test_all_problems_at_once():
    config = minimal(learning_rate=-1, lora_rank=0, method="magic", max_length=1)
    assert {problem.field for problem in config.problems()} == {"learning_rate", "lora_rank", "method", "max_length"}


def test_problems_name_value_and_limit():
    (problem,) = minimal(epochs=0).problems()
    assert "0" in problem.message and "10,000" in problem.message


@pytest.mark.parametrize(("state", "fields"), [
    ({"name": "x", "lora_rank": "many", "learning_rate": True}, {"model", "train_file", "lora_rank", "learning_rate"}),
    ({"name": "x", "model": "m", "train_file": "t", "lora_rank": "many", "epochs": 0}, {"lora_rank", "epochs"})])
def test_wrong_types_missing_fields_and_values_out_of_range_are_collected(state, fields):
    with pytest.raises(UserError) as caught:
        RunConfig.from_dict(state)
    assert {problem.field for problem in caught.value.problems} == fields


@pytest.mark.parametrize(("format", "said"), [(99, "newer SLM Studio"), ("1", "can't be used")])
def test_a_newer_format_and_one_that_is_no_number_are_refused(format, said):
    with pytest.raises(UserError, match=said):
        RunConfig.from_dict({"format": format, "name": "x", "model": "m", "train_file": "t"})


@pytest.mark.parametrize(("name", "text", "value"), [
    ("learning_rate", "1e-4", 1e-4), ("max_steps", "none", None), ("max_steps", "12", 12), ("lora_rank", "8", 8),
    ("gradient_checkpointing", "true", True), ("target_modules", "q_proj,v_proj", ["q_proj", "v_proj"]),
    ("target_modules", "all-linear", "all-linear"), ("eval_file", "null", None)])
def test_typed_text_becomes_a_value(name, text, value):
    assert FIELDS[name].read(text) == value


@pytest.mark.parametrize(("name", "value"), [
    ("lora_rank", "8.5"), ("lora_rank", 8.5), ("lora_rank", None), ("gradient_checkpointing", "maybe"), ("method", 3),
    ("learning_rate", "fast"), ("learning_rate", None)])
def test_unfit_values_are_refused(name, value):
    with pytest.raises(ValueError, match=r"must|can't"):
        FIELDS[name].read(value)


def test_misspelt_fields_in_a_file_are_refused_with_all_else_that_is_wrong(tmp_path):
    file = tmp_path / "run.json"
    file.write_text(json.dumps({**minimal().to_dict(), "learing_rate": 1, "kind": "dance", "lora_rank": 0}))
    with pytest.raises(UserError) as caught:
        config_file.load(file)
    assert {problem.field for problem in caught.value.problems} == {"learing_rate", "kind", "lora_rank"}


def test_a_run_folder_says_with_what_it_was_made(tmp_path, rows_file, tiny_model):
    job = folder.create(RunConfig(name="x", model=str(tiny_model), train_file=str(rows_file)), tmp_path / "runs")
    state = json.loads((job.folder / "run.json").read_text())
    assert {"slmstudio", "python", "torch", "transformers", "trl"} <= state["versions"].keys()
    assert state["hashes"]["train_file"] == hashlib.sha256(rows_file.read_bytes()).hexdigest()
    assert {"config.json", "tokenizer.json"} <= state["hashes"].keys()
    assert config_file.load(job.folder / "run.json").train_file == str(rows_file)  # it repeats a run elsewhere
