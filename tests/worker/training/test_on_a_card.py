"""What a run asks of transformers, TRL, PEFT and torch on a card, as far as it can be seen without one."""

from __future__ import annotations

import json

import pytest
import torch

from slmstudio.core.run import folder
from slmstudio.core.run.config import RunConfig
from slmstudio.worker.runtime.context import JobContext
from slmstudio.worker.training import loading, methods


@pytest.fixture
def make_job(tmp_path, tiny_model, rows_file, studio_home):
    def make(**changes) -> JobContext:
        settings = {
            "max_steps": 2, "micro_batch_size": 2, "gradient_accumulation_steps": 1, "max_length": 64,
            "eval_fraction": 0.25, "threads": 1, "sample_max_tokens": 0, "model": str(tiny_model), "device": "cpu",
            "train_file": str(rows_file), **changes}
        job = folder.create(RunConfig(name="trial", **settings), tmp_path / "runs")
        return JobContext(job.folder, job.request())

    return make


def loaded(job: JobContext) -> loading.Loaded:
    return loading.load(job, RunConfig.from_dict(job.request))


@pytest.mark.parametrize("objective", ["sft", "dpo"])
def test_one_process_uses_one_of_two_cards(make_job, tmp_path, monkeypatch, objective):
    """transformers counts all cards that torch sees, multiplies batches by them and wraps models in DataParallel; TRL
    refuses to begin then."""
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text("".join(json.dumps({"prompt": f"How many? {n}", "chosen": "Few.", "rejected": "Many."}) + "\n"
                             for n in range(8)))
    job = make_job(objective=objective, **({"train_file": str(pairs)} if objective == "dpo" else {}))
    honest = loading.shared_arguments
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    # As transformers decides on a card, on the processor all the same: torch.cuda.is_available() stays False.
    monkeypatch.setattr(loading, "shared_arguments", lambda *given: {**honest(*given), "use_cpu": False})
    trainer = loaded(job).trainer
    assert (trainer.args.n_gpu, trainer.args.train_batch_size, trainer.args.eval_batch_size) == (1, 2, 2)


def test_adapters_are_computed_in_the_runs_precision_on_a_card(make_job, monkeypatch):
    """Without autocast PEFT casts the input of each target to fp32, keeps it, and multiplies in fp32."""
    def formats(gpu: bool, **fields) -> tuple[bool, bool]:
        monkeypatch.setattr(methods, "on_gpu", lambda config: gpu)
        job = make_job(**fields)
        asked = loading.shared_arguments(job, RunConfig.from_dict(job.request))
        return asked["bf16"], asked["fp16"]

    for method in ("lora", "qlora", "full"):
        assert formats(True, method=method, precision="bf16") == (True, False)
        assert formats(True, method=method, precision="fp16") == (False, True)
        assert formats(True, method=method, precision="fp32") == (False, False)
        assert formats(False, method=method, precision="bf16") == (method == "full", False)
