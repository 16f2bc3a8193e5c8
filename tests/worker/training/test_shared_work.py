"""What one of several ranks does for itself. Ranks that really are several are in tests/process/test_two_ranks*.py."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from slmstudio.core.run import folder
from slmstudio.core.run.config import RunConfig
from slmstudio.worker.runtime import ranks
from slmstudio.worker.runtime.context import JobContext
from slmstudio.worker.training import train


@pytest.fixture
def config(tiny_model, rows_file) -> RunConfig:
    return RunConfig(name="trial", model=str(tiny_model), train_file=str(rows_file), max_steps=1, max_length=64,
                     micro_batch_size=2, gradient_accumulation_steps=1, device="cpu", threads=1, eval_fraction=0.0,
                     sample_max_tokens=0)


def test_what_the_first_rank_says_holds_but_for_the_models_folder(config, tmp_path, monkeypatch):
    """Another machine has the model elsewhere."""
    job = folder.create(config, tmp_path / "runs")
    first = replace(config, model=str(tmp_path / "on the first machine"), max_steps=2)
    monkeypatch.setattr(ranks, "broadcast", lambda value: first if isinstance(value, RunConfig) else value)
    assert train.run(JobContext(job.folder, job.request()))["steps"] == 2


@pytest.mark.parametrize(("threads", "count", "limit", "used"), [(4, 2, None, 2), (4, 1, None, 4), (1, 2, None, 1),
                                                                 (4, 1, "3", 3), (4, 1, "0", 1), (4, 1, "many", 4)])
def test_the_ranks_of_a_machine_share_its_threads(config, monkeypatch, threads, count, limit, used):
    """No more than OpenMP may start: bf16 products would be wrong."""
    asked = []
    monkeypatch.delenv("OMP_THREAD_LIMIT", raising=False)
    if limit is not None:
        monkeypatch.setenv("OMP_THREAD_LIMIT", limit)
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(count))
    train.ready(replace(config, threads=threads))
    assert asked == [used]
