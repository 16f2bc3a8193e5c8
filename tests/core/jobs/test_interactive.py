"""A worker that answers at once: its log, and what is said where a worker can't be started."""

from __future__ import annotations

import json
import os
import sys

import pytest
from support.small_disk import mounted

from slmstudio.core import jobs, paths
from slmstudio.core.errors import UserError
from slmstudio.core.jobs import interactive
from slmstudio.core.jobs.interactive import InteractiveWorker

ECHO = "import sys; print(sys.argv[1:], file=sys.stderr, flush=True); sys.stdin.read()"


@pytest.fixture(autouse=True)
def worker(studio_home, monkeypatch):
    monkeypatch.setenv("SLMSTUDIO_WORKER", json.dumps([sys.executable, "-c", ECHO]))


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_a_link_where_a_log_was_is_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    paths.cache_dir().mkdir(parents=True)
    (paths.cache_dir() / "chat-worker.log").symlink_to(victim)
    with InteractiveWorker("chat") as started:
        pass
    assert victim.read_text() == "mine" and str(started.log) in started.log.read_text()
    taken = InteractiveWorker("chat")
    taken.log.symlink_to(victim)
    with pytest.raises(Exception, match="couldn't be started"):
        taken.start()
    assert victim.read_text() == "mine"


def test_two_at_once_have_a_log_each_and_old_ones_go():
    with InteractiveWorker("chat") as one, InteractiveWorker("chat") as two:
        pass
    assert one.log != two.log and one.log.is_file() and two.log.is_file()
    for number in range(20):
        old = paths.cache_dir() / f"chat-worker-{number}-a.log"
        old.touch()
        os.utime(old, (number, number))
    with InteractiveWorker("chat") as third:
        pass
    left = list(paths.cache_dir().glob("chat-worker*.log"))
    assert len(left) == interactive.KEPT_LOGS + 1 and {one.log, two.log, third.log} <= set(left)


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
