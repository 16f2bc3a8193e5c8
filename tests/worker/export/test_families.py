"""All families with their real architectures, tokenizers and templates: each trains, and its loss falls."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean

import pytest
from support.family_models import FAMILIES
from support.tiers import first_fast

from slmstudio.core.run import folder
from slmstudio.core.run.config import RunConfig
from slmstudio.worker.runtime.context import JobContext
from slmstudio.worker.training import train

RATES = {"lora": 5e-3, "qlora": 2e-3, "full": 2e-3, "scratch": 1e-3}


@pytest.fixture(scope="session")
def rows(data_dir, tmp_path_factory) -> Path:
    """Real questions in English and Hindi, short ones."""
    file = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    english = [json.loads(line) for line in (data_dir / "gsm8k_train.jsonl").open(encoding="utf-8")]
    hindi = [json.loads(line) for line in (data_dir / "xquad_hi_instructions.jsonl").open(encoding="utf-8")]
    short = sorted(english, key=lambda row: len(row["question"]) + len(row["answer"]))[:12]
    found = [{"instruction": row["question"], "output": row["answer"]} for row in short]
    found += [{"instruction": row["instruction"], "output": row["output"]} for row in hindi[:12]]
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found), encoding="utf-8")
    return file


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("family", "method"), first_fast([
    (family, method) for family in FAMILIES for method in ("lora", "full", "qlora", "scratch")]))
def test_a_family_learns(families, rows, tmp_path, family, method):
    config = RunConfig(
        name=family, model=str(families / family), train_file=str(rows), method=method, max_steps=6,
        micro_batch_size=4, gradient_accumulation_steps=1, max_length=160, learning_rate=RATES[method], packing=True,
        warmup_fraction=0.0, lr_scheduler="constant", eval_fraction=0.2, eval_steps=6, save_steps=6, scratch_size="10M",
        sample_max_tokens=4, device="cpu", threads=2)
    job = folder.create(config, tmp_path / "runs")
    result = train.run(JobContext(job.folder, job.request()))
    assert result["state"] == "finished"
    losses = [event["train_loss"] for event in job.events() if event["type"] == "step"]
    assert len(losses) == 6 and mean(losses[3:]) < losses[0]  # each step has other rows
    assert result["eval_loss_after"] < result["eval_loss_before"]
