"""What is said where a worker can't be started: only a broken installation is mended by running setup."""

from __future__ import annotations

import json

import pytest
from support.small_disk import mounted

from slmstudio.core import jobs
from slmstudio.core.errors import UserError
from slmstudio.core.jobs.interactive import InteractiveWorker


def refused(start):
    with pytest.raises(UserError) as caught:
        start()
    assert "couldn't be started" in caught.value.what
    return caught.value


def test_a_missing_program_is_set_up_again(tmp_path, monkeypatch, studio_home):
    monkeypatch.setenv("SLMSTUDIO_WORKER", json.dumps([str(tmp_path / "nowhere")]))
    for start in (jobs.Job.create(tmp_path / "job", "train").start, InteractiveWorker("talk").start):
        assert "setup" in refused(start).remedy


def test_a_home_that_is_read_only_is_said(tmp_path, monkeypatch):
    with mounted(tmp_path / "disk", "ro") as disk:
        monkeypatch.setenv("SLMSTUDIO_HOME", str(disk))
        for start in (jobs.Job(disk).start, InteractiveWorker("talk").start):
            error = refused(start)
            assert error.why == "The disk is read-only." and "setup" not in error.remedy
