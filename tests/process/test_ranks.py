"""Several processes on one job: a second worker is refused, and of torchrun's ranks only the first speaks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.tiers import first_fast

from slmstudio.core import files, jobs

PROBE = Path(__file__).parents[1] / "support" / "rank_probe.py"


@pytest.fixture
def job(tmp_path, monkeypatch):
    """A job that rank 0 is at work on."""
    monkeypatch.setenv("SLMSTUDIO_WORKER", json.dumps([sys.executable, str(PROBE)]))
    monkeypatch.setenv("RANK", "0")
    job = jobs.Job.create(tmp_path / "job", "probe")
    job.start()
    next(event for event in job.follow() if event["type"] == "phase")
    yield job
    job.send("stop")
    job.wait()


def second_worker(job: jobs.Job, **ranks: str) -> int:
    """The exit status of another worker on the same job."""
    environment = {name: value for name, value in os.environ.items() if name not in ("RANK", "LOCAL_RANK")}
    environment["PYTHONPATH"] = str(PROBE.parents[2])
    return subprocess.run([sys.executable, str(PROBE), str(job.folder)], env={**environment, **ranks},
                          timeout=60, capture_output=True).returncode


@pytest.mark.parametrize("ranks", first_fast([{"RANK": "1", "LOCAL_RANK": "1"}, {"RANK": "4", "LOCAL_RANK": "0"},
                                              {"LOCAL_RANK": "1"}]), ids=str)
def test_another_rank_passes_the_lock_and_leaves_the_folder_to_rank_0(job, ranks):
    assert second_worker(job, **ranks) == 0
    assert job.is_alive() and job.outcome() is None  # rank 0 is still at work
    job.send("stop")
    outcome = job.wait()
    assert outcome.state == "finished" and outcome.result == {"rank": 0, "commands": 1}
    assert [(event["type"], event.get("detail")) for event in job.events()] == [
        ("job_started", None), ("lock", None), ("phase", "rank 0"), ("job_ended", None)]
    started = next(job.events())
    assert files.read_json(job.folder / jobs.PROCESS)["pid"] == started["pid"]


@pytest.mark.parametrize("ranks", [{}, {"RANK": "0", "LOCAL_RANK": "0"}], ids=str)
def test_a_second_worker_is_refused(job, ranks):
    assert second_worker(job, **ranks) == 3
    assert [event["type"] for event in job.events()] == ["job_started", "lock", "phase"]
