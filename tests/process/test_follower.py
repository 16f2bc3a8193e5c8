"""The terminal follows a job: what it shows, how Ctrl-C ends it, and what becomes of one whose folder is gone."""

from __future__ import annotations

import shutil
import signal

import psutil
import pytest

from slmstudio.cli.progress import Follower
from slmstudio.core import files, jobs
from slmstudio.core.errors import UserError
from slmstudio.core.run import folder
from slmstudio.core.run.config import RunConfig


@pytest.fixture
def start(tmp_path, play):
    started = []

    def call(words):
        play(words)
        job = started[0] if started else folder.create(RunConfig(name="x", model="m", train_file="t.jsonl"), tmp_path)
        started.append(job)
        job.start()
        return job

    yield call
    for job in started:
        job.kill()


class Scripted(Follower):
    """A follower in which something happens at these steps."""

    def __init__(self, happens):
        super().__init__()
        self.happens, self.seen = happens, []

    def on_event(self, phase, event):
        super().on_event(phase, event)
        if event["type"] == "step":
            self.seen.append(event["global_step"])
            self.happens.get(event["global_step"], lambda: None)()


def ctrl_c():
    raise KeyboardInterrupt


def test_only_the_present_start_is_shown_whatever_the_clock_says(start, capsys):
    with Follower() as follower:
        assert follower.follow(start("start plan:60 steps:20 crash"), "train").state == "crashed"
    assert "step 20/60" in capsys.readouterr().err
    with Follower() as follower:
        job = start("clock:-3600 start plan:60 steps:60 finish")
        assert follower.follow(job, "train").state == "finished"
    shown = capsys.readouterr().err
    assert "step 60/60" in shown and "step 10/60" in shown.partition("step 20/60")[0]
    assert shown.count("step 10/60") == 1


def test_ctrl_c_saves_and_counts_no_event_twice(start):
    with Scripted({7: ctrl_c}) as follower:
        outcome = follower.follow(start("start plan:100000 steps:100000@1"), "train")
    assert outcome.state == "stopped" and outcome.exit_status == 0
    assert follower.seen == list(range(1, len(follower.seen) + 1))


def test_ctrl_c_twice_ends_it_and_says_who_did(start):
    with Scripted({7: ctrl_c, 9: ctrl_c}) as follower:
        job = start("start plan:100000 deaf steps:100000@1")
        outcome = follower.follow(job, "train")
    assert outcome.state == "failed" and outcome.exit_status == 2 and not job.is_alive()
    assert "ended unexpectedly" not in str(outcome.user_error())
    assert jobs.Job(job.folder).outcome() == outcome


def test_the_exit_status_of_a_worker_that_was_killed_is_its_own(start):
    job = start("start plan:100000 steps:100000@1")
    next(event for event in job.follow() if event["type"] == "step")
    job.kill()
    assert job._reap() == -signal.SIGTERM and job.outcome().state == "crashed"


@pytest.mark.parametrize("leave", [lambda run: shutil.rmtree(run, ignore_errors=True),
                                   lambda run: run.rename(run.with_name("moved"))], ids=["deleted", "moved"])
def test_a_folder_that_is_gone_ends_the_following(start, leave):
    job = start("start plan:100000 steps:100000@1")
    worker = psutil.Process(files.read_json(job.folder / jobs.PROCESS)["pid"])
    with Scripted({7: lambda: leave(job.folder)}) as follower, pytest.raises(UserError, match="folder is gone"):
        follower.follow(job, "train")
    worker.wait(timeout=30)
