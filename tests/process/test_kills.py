"""Runs that are killed while they learn and while they save, run out of memory, lose the GPU, or are watched while they
replace themselves."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from support.tiers import first_fast

from slmstudio.core import files, jobs

posix = pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL and fork are of POSIX systems")


@posix
@pytest.mark.timeout(500)
@pytest.mark.parametrize(("training", "saving"), first_fast([(2, 1), (10, 10)]))
def test_kills_lose_nothing(tmp_path, studio_home, training, saving):
    from support import kill_trial

    report = kill_trial.run_trial(tmp_path, training=training, saving=saving, seed=1)
    assert report.faults == []
    assert report.identical and report.kills == {"training": training, "saving": saving}
    assert report.most_redone <= kill_trial.SAVE_STEPS


@pytest.mark.full
@posix
def test_a_stopped_process_goes_on_as_if_nothing_had_been(tmp_path, studio_home):
    from support import kill_trial

    found = kill_trial.suspend_trial(tmp_path, seconds=8.0)
    assert found["identical"]
    assert found["told_seconds"] >= 6.0
    # The pause counts for no step, and so not for the time that is left.
    assert found["longest_step_seconds"] < found["told_seconds"]


@pytest.mark.full
@posix
@pytest.mark.timeout(400)
def test_a_disk_that_is_full_at_any_write_costs_nothing(tmp_path, studio_home):
    from support import kill_trial

    try:
        found = kill_trial.full_disk_trial(tmp_path, levels=4)
    except PermissionError as error:
        pytest.skip(str(error))
    assert found["faults"] == []


@pytest.fixture
def job(new_run, studio_home, monkeypatch):
    script = Path(__file__).parents[1] / "support" / "starved_worker.py"
    monkeypatch.setenv("SLMSTUDIO_WORKER", json.dumps([sys.executable, str(script)]))
    return new_run(max_steps=6, micro_batch_size=4, gradient_accumulation_steps=1, max_length=128, eval_steps=2,
                   save_steps=2, sample_max_tokens=0)


def follow(job) -> tuple[jobs.Outcome, set[int]]:
    """Wait for the end as a window does; all pids that were ever named."""
    pids: set[int] = set()

    def look(event) -> None:
        pids.add((files.read_json(job.folder / jobs.PROCESS) or {}).get("pid", 0))
        if event["type"] == "adjusted":
            assert job.outcome() is None  # never a moment in which the run looks dead

    return job.wait(look), pids


@pytest.mark.full
@pytest.mark.parametrize(("handover", "adjustments"), [
    pytest.param(False, [2], id="exec"), pytest.param(False, [2, 1], id="exec twice"),
    pytest.param(True, [2, 1], id="as on Windows")])
def test_out_of_memory_restarts_by_itself(job, monkeypatch, handover, adjustments):
    monkeypatch.setenv("STARVED_ROWS", str(adjustments[-1]))
    if handover:
        monkeypatch.setenv("STARVED_HANDOVER", "1")
    job.start()
    outcome, pids = follow(job)
    assert outcome.state == "finished", outcome
    events = list(job.events())
    adjusted = [event["changes"]["micro_batch_size"] for event in events if event["type"] == "adjusted"]
    assert adjusted == adjustments
    assert [event["global_step"] for event in events if event["type"] == "resumed_from"] == [2] * len(adjustments)
    assert sorted({event["global_step"] for event in events if event["type"] == "step"}) == [1, 2, 3, 4, 5, 6]
    assert len(pids - {0}) == (3 if handover else 1)


@pytest.mark.full
def test_a_lost_gpu_is_named(job, monkeypatch):
    monkeypatch.setenv("STARVED_GPU", "1")
    job.start()
    outcome, _ = follow(job)
    assert outcome.state == "failed" and "GPU stopped working" in outcome.error["what"]
    assert "unspecified launch failure" in outcome.details
    monkeypatch.delenv("STARVED_GPU")
    again = jobs.Job(job.folder)
    again.start()
    assert again.wait().state == "finished"


@pytest.mark.full
@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on the address space")
def test_a_limit_on_memory_is_named(job, monkeypatch):
    """Libraries fail in any way there: here a file can't be mapped."""
    start = 'ulimit -v 1000000; exec "$0" -P -m slmstudio.worker "$@"'
    monkeypatch.setenv("SLMSTUDIO_WORKER", json.dumps(["/bin/sh", "-c", start, sys.executable]))
    job.start()
    outcome, _ = follow(job)
    assert "memory limit" in outcome.error["what"] and "977 MB" in outcome.error["why"], outcome
