"""What a real run gained and what it cost: its six types keep the shares that numpy computes from the answers' files,
and a run driven to overfit has forgotten general knowledge, which one as planned hasn't."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import starter
from support.gguf_models import context

from slmstudio.core import paths
from slmstudio.core.evaluation import gain, general
from slmstudio.core.evaluation import request as requests
from slmstudio.core.evaluation.scores.metrics import row_counts
from slmstudio.core.evaluation.scores.ngrams import chrf_score
from slmstudio.core.evaluation.scoring import read_scores
from slmstudio.core.files import LineReader
from slmstudio.core.run import folder
from slmstudio.core.run.config import RunConfig

pytestmark = [pytest.mark.timeout(3000), pytest.mark.full]
TYPES = ["F16", "Q8_0", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K"]


def done(job: Any) -> Path:
    job.start()
    outcome = job.wait(lambda event: None)
    assert outcome.was_successful(), outcome
    return job.folder


def train(place: Path, count: int = 60, **changes: Any) -> Path:
    """The starter model, trained on the first rows of its data as the planner would, but for the changes."""
    rows = place / "rows.jsonl"
    rows.write_text("".join(paths.starter_train_file().read_text("utf-8").splitlines(keepends=True)[:count]), "utf-8")
    return done(folder.create(RunConfig(**{
        "name": "trial", "model": str(starter.model()), "train_file": str(rows), "eval_steps": 1000, "lora_rank": 64,
        "eval_file": str(paths.starter_test_file()), "micro_batch_size": 4, "gradient_accumulation_steps": 1,
        "max_length": 256, "sample_max_tokens": 0, "epochs": 2.0, "learning_rate": 1.4e-3, "lora_alpha": 128,
        "use_best_checkpoint": False, "device": "cpu", "threads": 2, **changes}), place / "runs"))


def evaluated(run: Path, rows: int, exports: bool = False) -> tuple[Path, dict[str, Any]]:
    asked = requests.propose(run, exports=exports)
    job = done(requests.create({**asked, "limit": rows, "max_new_tokens": 48}, run))
    return job, read_scores(job) or {}


def test_shares_equal_those_computed_by_hand_and_a_planned_run_forgets_nothing(tmp_path, studio_home):
    from slmstudio.worker.export import export

    run = train(tmp_path)
    export.run(context(run / "jobs" / "export-1", kind="export", run=str(run), types=TYPES, out=None))
    job, scores = evaluated(run, 24, exports=True)
    items, by_hand = list(LineReader(job / "items.jsonl").read()), {}
    for number, model in enumerate(scores["models"]):
        answers = {line["id"]: line for line in LineReader(job / f"answers-{number}.jsonl").read()}
        counts = [row_counts(item, [answers[item["id"]]])[0]["chrf"] for item in items]
        by_hand[model["name"]] = float(chrf_score(np.array(counts).sum(0)))
    gained = by_hand["tuned"] - by_hand["base"]
    found = {each.type: each.share for each in gain.shares(scores)}
    assert found == {name: pytest.approx((by_hand[name] - by_hand["base"]) / gained, abs=1e-5) for name in TYPES}
    assert general.loss(scores) is None, scores["general"]


def test_a_run_driven_to_overfit_has_forgotten(tmp_path, studio_home):
    """Ten times over a few rows, in steps seven times as large as planned."""
    _, scores = evaluated(train(tmp_path, 16, epochs=10.0, learning_rate=1e-2), 4)
    assert general.loss(scores) is not None, scores["general"]
