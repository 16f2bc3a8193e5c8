"""A real worker on a tiny model: killed, stopped, out of disk, asked twice. Nothing is lost."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.small_disk import fill, mounted
from support.wait import event, until

from slmstudio.core import disk_space, jobs
from slmstudio.core.errors import UserError
from slmstudio.core.run import checkpoints, folder

SETTINGS = {"micro_batch_size": 2, "gradient_accumulation_steps": 1, "max_length": 128,
            "eval_steps": 1000, "save_steps": 5, "sample_max_tokens": 4}


@pytest.fixture
def start(new_run):
    """Start a run; whatever is left of it is ended with the test."""

    def call(*parent: Path, **changes) -> jobs.Job:
        job = new_run(*parent, **{**SETTINGS, **changes})
        job.start()
        return job

    return call


@pytest.mark.full
def test_a_second_worker_on_the_same_run_is_refused_and_stop_saves(start):
    job = start(max_steps=5000, save_steps=5000)
    event(job, "step", global_step=3)
    with pytest.raises(UserError, match="already running"):
        jobs.Job(job.folder).start()
    assert job.is_alive()
    job.send("stop")
    outcome = job.wait()
    assert outcome.state == "stopped" and outcome.was_successful()
    last = checkpoints.all_checkpoints(job.folder / folder.CHECKPOINTS)[-1]
    assert last.global_step == outcome.result["steps"]
    assert checkpoints.damage(last.path) is None


@pytest.fixture
def small_disk(tmp_path):
    with mounted(tmp_path / "disk", "size=3m") as place:
        yield place


def test_a_full_disk_pauses_and_space_resumes(small_disk, start):
    """A checkpoint that doesn't fit is told once, though not a byte is left; the run waits, goes on by itself, and ends
    well."""
    job = start(small_disk, max_steps=6, save_steps=4)
    with pytest.raises(UserError, match="already running"):
        jobs.Job(job.folder).start()
    event(job, "plan")
    ballast = fill(small_disk)
    warning = event(job, "warning", code="disk_full")
    assert "disk is full" in warning["message"] and "continues by itself" in warning["message"]
    assert checkpoints.all_checkpoints(job.folder / folder.CHECKPOINTS) == []
    assert job.is_alive()
    ballast.unlink()
    assert job.wait().state == "finished"
    assert checkpoints.all_checkpoints(job.folder / folder.CHECKPOINTS)[-1].global_step == 6
    assert not (job.folder / disk_space.RESERVE).exists()


@pytest.mark.full
def test_a_run_that_waits_for_space_can_be_stopped(small_disk, start):
    job = start(small_disk, max_steps=100, save_steps=4)
    event(job, "plan")
    fill(small_disk)
    event(job, "paused", reason="disk_full")
    fill(small_disk)
    job.send("stop")
    until(lambda: job.outcome() is not None, "the outcome takes no room")
    assert job.outcome().state == "stopped"


@pytest.mark.full
def test_a_model_folder_that_vanished_fails_in_a_sentence(start, tmp_path):
    outcome = start(model=str(tmp_path / "gone")).wait()
    assert outcome.state == "failed" and "gone" in outcome.error["what"] and not outcome.details


def test_a_read_only_disk_is_said(new_run, tmp_path):
    with mounted(tmp_path / "disk", "ro") as disk:
        with pytest.raises(UserError) as caught:
            new_run(disk)
        assert "read-only" in caught.value.why


@pytest.mark.full
def test_two_windows_that_start_at_once_start_one_worker(new_run):
    job = new_run(max_steps=5000, **SETTINGS)

    def press_start(_: int) -> bool:
        try:
            jobs.Job(job.folder).start()
        except UserError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(press_start, range(4))) == 1
    event(job, "step")
    assert job.is_alive() and job.outcome() is None
