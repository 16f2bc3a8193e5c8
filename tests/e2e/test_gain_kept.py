"""What a real run gained and what it cost: its six types keep the shares that numpy computes from the answers' files,
and a run driven to overfit has forgotten general knowledge, which one as planned hasn't."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import starter
from support.gguf_models import context

from slmstudio.core import paths
from slmstudio.core.evaluation import advice, gain, general
from slmstudio.core.evaluation import request as requests
from slmstudio.core.evaluation.scores.ngrams import chrf_score
from slmstudio.core.evaluation.scoring import read_scores
from slmstudio.core.files import LineReader
from slmstudio.core.run import folder
from slmstudio.core.run.config import RunConfig

pytestmark = [pytest.mark.timeout(3000), pytest.mark.full]
TYPES = ["F16", "Q8_0", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K"]
OVERFIT: dict[str, Any] = {"epochs": 10.0, "learning_rate": 5e-3}


def train(place: Path, **changes: Any) -> Path:
    """The folder of a finished run of the starter model on 60 rows of its data: as the plan has it, but for changes."""
    rows = place / "rows.jsonl"
    rows.write_text("".join(paths.starter_train_file().read_text("utf-8").splitlines(keepends=True)[:60]), "utf-8")
    fields = {"epochs": 2.0, "learning_rate": 1.4e-3, "lora_rank": 64, "lora_alpha": 128, **changes}
    job = folder.create(RunConfig(
        name="trial", model=str(starter.model()), train_file=str(rows), eval_file=str(paths.starter_test_file()),
        micro_batch_size=4, gradient_accumulation_steps=1, max_length=256, sample_max_tokens=0, device="cpu",
        eval_steps=1000, save_steps=1000, use_best_checkpoint=False, threads=2, **fields), place / "runs")
    job.start()
    outcome = job.wait(lambda event: None)
    assert outcome.was_successful(), outcome
    return job.folder


def evaluated(run: Path, exports: bool = False, limit: int = 12) -> tuple[Path, dict[str, Any]]:
    asked = requests.propose(run, exports=exports)
    job = requests.create({**asked, "limit": limit, "max_new_tokens": 48}, run)
    job.start()
    outcome = job.wait(lambda event: None)
    assert outcome.was_successful(), outcome
    found = read_scores(job.folder)
    assert found is not None
    return job.folder, found


def test_shares_equal_those_computed_by_hand_and_a_planned_run_forgets_nothing(tmp_path, studio_home):
    from slmstudio.core.evaluation.scores.metrics import row_counts
    from slmstudio.worker.export import export

    run = train(tmp_path)
    export.run(context(run / "jobs" / "export-1", kind="export", run=str(run), types=TYPES, out=None))
    job, scores = evaluated(run, exports=True, limit=24)
    names = [model["name"] for model in scores["models"]]
    items = list(LineReader(job / "items.jsonl").read())
    sums = {}
    for number, name in enumerate(names):
        answers = {line["id"]: line for line in LineReader(job / f"answers-{number}.jsonl").read()}
        rows = [row_counts(item, [answers[item["id"]]])[0]["chrf"] for item in items]
        sums[name] = float(chrf_score(np.array(rows).sum(0)))
    found = {each.type: each for each in gain.shares(scores)}
    print({name: f"{each.share:.3f} ({each.low:.3f} to {each.high:.3f}), {each.size_bytes}, {each.tokens_per_second}"
           for name, each in found.items()}, sums)
    assert set(found) == set(TYPES)
    for name, each in found.items():
        by_hand = (sums[name] - sums["base"]) / (sums["tuned"] - sums["base"])
        assert each.share == pytest.approx(by_hand, abs=1e-5) and each.low <= each.share <= each.high
    assert abs(found["F16"].share - 1) < 0.1
    print(scores["general"])
    assert general.loss(scores) is None


def test_a_run_driven_to_overfit_has_forgotten(tmp_path, studio_home):
    run = train(tmp_path, **OVERFIT)
    job, scores = evaluated(run)
    print(json.dumps(scores["general"]))
    assert general.loss(scores) is not None
    found = advice.of_run(run, scores, json.loads((job / "request.json").read_text("utf-8")))
    assert found is not None and found.caveat.endswith(general.sentence(*general.loss(scores)))  # type: ignore[misc]
