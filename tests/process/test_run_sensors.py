"""A real worker watches a fake card through the real pynvml."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from support.wait import event

from slmstudio.core import jobs
from slmstudio.core.hardware import nvml
from slmstudio.core.run import checkpoints, folder


@pytest.fixture
def start(new_run):
    def call(save_steps: int = 10**6) -> jobs.Job:
        job = new_run(max_steps=100_000, eval_steps=10**6, save_steps=save_steps, heat_guard="off", sample_max_tokens=4)
        job.start()
        return job

    return call


@pytest.fixture
def on_the_card(monkeypatch):
    """Workers take the fake card for the one that their run computes on."""
    script = Path(__file__).parents[1] / "support" / "lost_card.py"
    monkeypatch.setenv("SLMSTUDIO_WORKER", json.dumps([sys.executable, str(script)]))


def ended_for_its_card(job: jobs.Job) -> None:
    """Wait for the end, which says why, and after which Resume continues from a checkpoint."""
    outcome = job.wait()
    assert outcome.state == "failed", f"{outcome}\n{job.log_tail()}"
    error = outcome.user_error()
    assert (error.what, error.why) == ("The GPU stopped working during the job.", nvml.LOST)
    assert "Resume continues from the last checkpoint." in error.remedy
    assert folder.summarise(job.folder).resumable
    assert checkpoints.newest_good(job.folder / folder.CHECKPOINTS, lambda *damaged: pytest.fail(str(damaged)))


@pytest.mark.full
def test_a_run_that_hangs_on_a_lost_card_is_ended_and_can_be_resumed(start, fake_nvml, on_the_card, monkeypatch):
    monkeypatch.setenv("LOST_CARD_HANGS", "2")
    job = start(save_steps=2)
    event(job, "checkpoint_saved")
    fake_nvml.set(every_query="GPU_IS_LOST")
    ended_for_its_card(job)
    assert not job.is_alive()
    assert list(job.events())[-1]["type"] == "job_ended"


@pytest.mark.full
def test_a_run_that_still_makes_steps_saves_and_ends_when_its_card_is_lost(start, fake_nvml, on_the_card):
    job = start()
    event(job, "step")
    fake_nvml.set(every_query="GPU_IS_LOST")
    ended_for_its_card(job)
    events = list(job.events())
    saved = [e["global_step"] for e in events if e["type"] == "checkpoint_saved"]
    assert saved == [max(e["global_step"] for e in events if e["type"] == "step")]
