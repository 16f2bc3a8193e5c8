"""A worker obeys what was asked since it was started."""

from __future__ import annotations

import json
import sys

import pytest
from support.small_disk import fill, mounted

from slmstudio.core import disk_space, jobs
from slmstudio.core.errors import UserError
from slmstudio.core.jobs import processes
from slmstudio.worker.runtime import ending
from slmstudio.worker.runtime.context import JobContext


@pytest.mark.parametrize("clock", [0.0, 1e12])
def test_what_an_earlier_worker_was_asked_is_not_asked_of_the_next(tmp_path, monkeypatch, clock):
    """Whatever the clock showed when it was asked."""
    job = jobs.Job.create(tmp_path / "job", "train")
    job.send("stop", time=1e12)
    say = f"import os, sys; open(sys.argv[1] + '/said', 'w').write(os.environ[{processes.COMMANDS_FROM!r}])"
    monkeypatch.setenv("SLMSTUDIO_WORKER", json.dumps([sys.executable, "-c", say]))
    job.start()
    job.wait()
    monkeypatch.setenv(processes.COMMANDS_FROM, (job.folder / "said").read_text())
    job.send("pause", time=clock)
    context = JobContext(job.folder, {})
    assert not context.cancelled() and [each["command"] for each in context.commands()] == ["pause"]
    job.send("stop", time=clock)
    assert context.cancelled()


def test_a_successor_of_the_same_job_begins_where_this_process_stopped(tmp_path, monkeypatch):
    monkeypatch.delenv(processes.COMMANDS_FROM, raising=False)
    job = jobs.Job(tmp_path)
    job.send("stop")
    context = JobContext(tmp_path, {})
    job.send("pause")
    assert [each["command"] for each in context.commands()] == ["pause"]
    job.send("checkpoint")
    assert context.waiting()  # read, and not yet obeyed
    monkeypatch.setenv(processes.COMMANDS_FROM, str(context.commands_from))
    assert [each["command"] for each in JobContext(tmp_path, {}).commands()] == ["checkpoint"]


def test_a_worker_notices_that_its_folder_is_gone_whatever_was_written_there_since(tmp_path):
    job = jobs.Job.create(tmp_path / "job", "train")
    context = JobContext(job.folder, job.request())
    assert not context.cancelled()
    (job.folder / jobs.REQUEST).unlink()
    context.emit("step", global_step=1)
    with pytest.raises(UserError, match="folder is gone"):
        context.cancelled()
    ending.write_outcome(context, jobs.Outcome("failed"))
    assert not (job.folder / jobs.OUTCOME).exists()


def test_a_full_disk_is_told_once_though_nothing_else_can_be_recorded(tmp_path):
    with mounted(tmp_path / "disk") as disk:
        context = JobContext(disk, {})
        disk_space.keep_reserve(disk)
        fill(disk)
        for step in range(200):  # what the blocks of the files have left is soon used
            context.emit("step", global_step=step, text="x" * 1000)
        events = list(jobs.Job(disk).events())
        assert [each["code"] for each in events if each["type"] == "warning"] == ["events_lost"]
        assert 0 < (disk / disk_space.RESERVE).stat().st_size < disk_space.RESERVE_BYTES, "some is for the outcome"
        job = jobs.Job(disk)
        fill(disk)
        for _ in range(200):
            job.send("stop")
