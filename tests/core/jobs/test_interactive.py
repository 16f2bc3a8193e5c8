"""The log of a worker that answers at once: its own, and nobody else's file."""

from __future__ import annotations

import json
import os
import sys

import pytest

from slmstudio.core import paths
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
