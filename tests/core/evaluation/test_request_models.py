"""What a path names when it is put beside the models of an evaluation."""

import pytest
from support import model_files

from slmstudio.core import jobs
from slmstudio.core.errors import UserError
from slmstudio.core.evaluation import request
from slmstudio.core.evaluation.request import model_at, precision_of
from slmstudio.core.hardware.machine import Gpu
from slmstudio.core.run import folder
from slmstudio.core.run.config import RunConfig


def test_runs_model_folders_and_gguf_files_are_told_apart(studio_home, tmp_path):
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text("{}")
    file = tmp_path / "small-Q4_K_M.gguf"
    file.write_bytes(b"GGUF")
    assert model_at(base) == {"name": "base", "model": str(base), "adapter": None, "gguf": None}
    assert model_at(file) == {"name": "small-Q4_K_M", "model": None, "adapter": None, "gguf": str(file)}
    run = folder.create(RunConfig(name="helpdesk", model=str(base), train_file="rows.jsonl")).folder
    with pytest.raises(UserError, match="no result yet"):
        model_at(run)
    (run / folder.ADAPTER).mkdir()
    (run / folder.ADAPTER / "adapter_config.json").write_text("{}")
    jobs.write_outcome(run, jobs.Outcome("finished"))
    assert model_at(run) == {"name": "helpdesk", "model": str(base), "adapter": str(run / folder.ADAPTER), "gguf": None}
    with pytest.raises(UserError, match="can't be used as a model"):
        model_at(tmp_path / "notes.txt")


def test_a_qlora_run_is_held_as_it_learned(studio_home, tmp_path):
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text("{}")
    run = folder.create(RunConfig(name="small", model=str(base), train_file="rows.jsonl", method="qlora")).folder
    (run / folder.ADAPTER).mkdir()
    (run / folder.ADAPTER / "adapter_config.json").write_text("{}")
    jobs.write_outcome(run, jobs.Outcome("finished"))
    assert model_at(run)["load_in_4bit"] is True
    assert [model["load_in_4bit"] for model in request.run_models(run, RunConfig(
        name="small", model=str(base), train_file="rows.jsonl", method="qlora"), exports=False)] == [True, True]


def test_the_precision_is_that_of_the_checkpoints_on_a_gpu(tmp_path, monkeypatch):
    new, old = (Gpu(0, "a card", 2**33, 2**33, capability) for capability in ((8, 6), (7, 5)))
    model = {"model": str(model_files.write_model(tmp_path / "model"))}
    assert precision_of([model], None) == "fp32"
    assert precision_of([model], new) == "bf16" and precision_of([model], old) == "fp16"
    wide = {"model": str(model_files.write_model(tmp_path / "wide", weights=model_files.safetensors(
        model_files.llama_tensors(dtype="F32"))))}
    assert precision_of([model, wide], new) == "fp32"
    half = {"model": str(model_files.write_model(tmp_path / "half", weights=model_files.safetensors(
        model_files.llama_tensors(dtype="F16"))))}
    assert precision_of([half], new) == "fp16" and precision_of([half, model], new) == "bf16"
    assert precision_of([{"model": str(tmp_path / "none")}, {"model": None}], new) == "bf16"
    monkeypatch.setattr(request, "FP16_OVERFLOWS", {"llama"})
    assert precision_of([model], new) == "bf16" and precision_of([model], old) == "fp32"
