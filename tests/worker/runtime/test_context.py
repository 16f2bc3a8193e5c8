"""A worker obeys what was asked since it was started."""

from __future__ import annotations

import time

import psutil

from slmstudio.core import jobs
from slmstudio.core.jobs import processes
from slmstudio.worker.runtime.context import JobContext


def test_what_an_earlier_worker_was_asked_is_not_asked_of_the_next(tmp_path, monkeypatch):
    """Even if less than a second passed in between: the system tells a process's start only to the second."""
    began = psutil.Process().create_time()
    job = jobs.Job(tmp_path)
    job.send("stop", time=began + 0.2)
    monkeypatch.setenv(processes.STARTED, str(began + 0.3))
    context = JobContext(tmp_path, {})
    assert context.commands() == [] and not context.cancelled()
    job.send("pause", time=time.time())
    assert [each["command"] for each in context.commands()] == ["pause"]
