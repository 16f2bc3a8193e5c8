"""The starter model, real weights, by every method and for every objective: the loss falls in each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support import starter as starter_model

from slmstudio.core import paths
from slmstudio.core.data import reader
from slmstudio.core.run import folder
from slmstudio.core.run.config import RunConfig

STEPS = 5
METHODS = {
    "lora": {"learning_rate": 2e-3},
    "rslora": {"learning_rate": 2e-3, "use_rslora": True, "lora_alpha": 8},
    "dora": {"learning_rate": 2e-3, "use_dora": True},
    "qlora": {"learning_rate": 2e-3, "method": "qlora"},
    "full": {"learning_rate": 1e-4, "method": "full"},
    "continued pretraining": {"learning_rate": 1e-4, "method": "full", "objective": "text"},
    "scratch": {"learning_rate": 1e-3, "method": "scratch", "objective": "text", "scratch_size": "10M"},
    "dpo": {"learning_rate": 5e-5, "objective": "dpo"},
    "orpo": {"learning_rate": 5e-4, "objective": "orpo"},
    "kto": {"learning_rate": 2e-4, "objective": "kto"},
}


@pytest.fixture
def starter() -> Path:
    return starter_model.model()


def rows_of(objective: str) -> list[dict]:
    """The shortest questions of the starter data; the worse answer is that of another question."""
    records = sorted(reader.read_dataset(paths.starter_train_file()).records, key=lambda r: sum(map(len, r.contents)))
    pairs = [(record.messages[-2]["content"], record.messages[-1]["content"]) for record in records[:24]]
    if objective in ("dpo", "orpo"):
        return [{"prompt": q, "chosen": a, "rejected": pairs[i - 7][1]} for i, (q, a) in enumerate(pairs)
                if a != pairs[i - 7][1]]
    if objective == "kto":
        return [{"prompt": q, "completion": a if i % 2 else pairs[i - 7][1], "label": bool(i % 2)}
                for i, (q, a) in enumerate(pairs)]
    if objective == "text":
        return [{"text": f"{q} {a}"} for q, a in pairs]
    return [{"instruction": q, "output": a} for q, a in pairs]


@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", METHODS)
def test_the_starter_model_learns(starter, tmp_path, name):
    from slmstudio.worker import train
    from slmstudio.worker.context import JobContext

    settings = METHODS[name]
    objective = settings.get("objective", "sft")
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows_of(objective)), "utf-8")
    # Rows that are learned are evaluated: a few steps shall show that it learns, not that it generalises.
    known = tmp_path / "known.jsonl"
    known.write_text("".join(file.read_text("utf-8").splitlines(keepends=True)[:8]), "utf-8")
    config = RunConfig(
        name="every-method", model=str(starter), train_file=str(file), eval_file=str(known), max_steps=STEPS,
        micro_batch_size=2,
        gradient_accumulation_steps=1, max_length=96, warmup_fraction=0.0, lr_scheduler="constant",
        eval_steps=STEPS, save_steps=STEPS, sample_max_tokens=0, device="cpu", threads=2,
        precision="fp32" if objective in ("dpo", "orpo", "kto") else "bf16",
        packing=objective in ("sft", "text"), **settings)
    assert not config.problems()
    job = folder.create(config, tmp_path / "runs")
    result = train.run(JobContext(job.folder, job.request()))
    assert result["state"] == "finished" and result["steps"] == STEPS
    assert result["eval_loss_after"] < result["eval_loss_before"]
