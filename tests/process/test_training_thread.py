"""The thread that follows a run, with a real child process that behaves as badly as one can."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from support.tiers import first_fast

from slmstudio.core import files, jobs
from slmstudio.core.jobs.job import Job
from slmstudio.core.run import folder
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.history import RunHistory
from slmstudio.gui.common.followed_job import JobThread

pytestmark = pytest.mark.usefixtures("garbage_stays_here")


class Listener:
    """Keeps what a thread said, in its order."""

    def __init__(self, thread):
        self.said: list[tuple[str, object]] = []
        self.batch_times: list[float] = []
        thread.events.connect(self._take)
        thread.caught_up.connect(lambda history: self.said.append(("caught_up", history)))
        thread.ended.connect(lambda outcome: self.said.append(("ended", outcome)))
        thread.failed.connect(lambda error: self.said.append(("failed", error)))

    def _take(self, events):
        self.batch_times.append(time.monotonic())
        self.said += [("event", event) for event in events]

    def events(self, type=None):
        return [value for kind, value in self.said if kind == "event" and type in (None, value.get("type"))]

    def of(self, kind):
        return [value for each, value in self.said if each == kind]


@pytest.fixture
def job(tmp_path):
    return folder.create(RunConfig(name="हेल्पडेस्क", model="m", train_file="t.jsonl"), tmp_path)


@pytest.fixture
def follow(qtbot, job):
    threads = []

    def begin(job=job, **options):
        thread = JobThread(job, **{"start_worker": True, **options})
        threads.append(thread)
        listener = Listener(thread)
        thread.start()
        return thread, listener

    yield begin
    for thread in threads:
        thread.leave_and_wait()
        thread.job.kill()


def ended(qtbot, listener, timeout=10_000):
    qtbot.waitUntil(lambda: bool(listener.of("ended")), timeout=timeout)
    return listener.of("ended")[0]


def test_a_run_from_start_to_end(qtbot, follow, play):
    play("start load plan:40 steps:40 finish")
    _, listener = follow()
    outcome = ended(qtbot, listener)
    assert outcome.state == "finished"
    assert [event["global_step"] for event in listener.events("step")] == list(range(1, 41))
    kinds = [kind for kind, _ in listener.said]
    assert (kinds[0], kinds[-1]) == ("caught_up", "ended")
    assert kinds.count("ended") == 1 and kinds.count("caught_up") == 1
    assert not listener.of("failed")
    assert listener.said[-2][1]["type"] == "job_ended"


@pytest.mark.parametrize(("words", "state", "text"), [
    ("start steps:3 die", "crashed", "SIGKILL"),
    ("start steps:3 crash", "crashed", "exit status 1"),
    ("silent", "crashed", "exit status 0"),
    ("start steps:3 error", "failed", "micro-batch"),
])
def test_bad_ends_are_named(qtbot, follow, play, words, state, text):
    play(words)
    _, listener = follow()
    outcome = ended(qtbot, listener)
    assert outcome.state == state
    assert text in str(outcome.user_error())


def test_the_traceback_of_a_crash_is_kept_for_copy_details(qtbot, follow, play):
    play("start crash")
    _, listener = follow()
    assert "RuntimeError: a defect" in ended(qtbot, listener).details


def test_garbage_and_half_lines_hide_nothing(qtbot, follow, play, job):
    play("start plan:20 steps:10 garbage half wait:checkpoint rest steps:10 finish")
    thread, listener = follow()
    qtbot.waitUntil(lambda: len(listener.events("step")) == 10, timeout=10_000)
    assert not listener.events("log"), "half an event was taken for one"
    thread.send("checkpoint")
    assert ended(qtbot, listener).state == "finished"
    assert [event["message"] for event in listener.events("log")] == ["पूरी पंक्ति"]
    assert len(listener.events("step")) == 20
    assert len(listener.events("later_version")) == 1
    history = RunHistory()
    for event in listener.events():
        history.add(event)
    assert history.step == 20


@pytest.fixture
def in_haste(monkeypatch):
    """A worker that ignores SIGTERM is killed without much waiting."""
    monkeypatch.setattr("slmstudio.core.jobs.job.TERM_SECONDS", 0.2)


def test_a_worker_that_ignores_stop_is_ended(qtbot, follow, play, job, in_haste):
    play("start steps:3 hang")
    thread, listener = follow(grace_seconds=0.3)
    qtbot.waitUntil(lambda: bool(listener.events("log")), timeout=10_000)
    thread.send("stop")
    outcome = ended(qtbot, listener)
    assert outcome.state == "failed"
    assert "Resume" in outcome.user_error().remedy
    assert not job.is_alive()


def test_so_is_one_that_makes_steps_and_does_not_stop(qtbot, follow, play, job, in_haste):
    play("start plan:100000 deaf steps:100000@1")
    thread, listener = follow(grace_seconds=0.3)
    qtbot.waitUntil(lambda: len(listener.events("step")) > 5, timeout=10_000)
    thread.send("stop")
    assert ended(qtbot, listener).state == "failed" and not job.is_alive()


def test_stop_is_obeyed_when_the_clock_was_set_back(qtbot, follow, play):
    play("clock:-3600 start plan:100000 steps:100000@1")
    thread, listener = follow()
    qtbot.waitUntil(lambda: len(listener.events("step")) > 5, timeout=10_000)
    thread.send("stop")
    assert ended(qtbot, listener).state == "stopped"


def test_end_now_does_not_wait_for_the_grace_period(qtbot, follow, play, job, in_haste):
    play("start steps:3 hang")
    thread, listener = follow(grace_seconds=3600)
    qtbot.waitUntil(lambda: bool(listener.events("log")), timeout=10_000)
    thread.end_now()
    ended(qtbot, listener)
    assert not job.is_alive()


def test_stop_pressed_before_the_worker_listens_is_not_lost(qtbot, follow, play):
    play("start plan:100000 steps:100000@1")
    thread, listener = follow()
    thread.send("stop")
    assert ended(qtbot, listener).state == "stopped"


def test_detach_leaves_the_worker_and_attach_misses_nothing(qtbot, follow, play, job):
    play("start plan:100000 steps:100000@1")
    thread, listener = follow()
    qtbot.waitUntil(lambda: len(listener.events("step")) > 5, timeout=10_000)
    thread.leave_and_wait()
    assert thread.isFinished() and job.is_alive() and not listener.of("ended")
    again, heard = follow(Job(job.folder), start_worker=False)
    qtbot.waitUntil(lambda: len(heard.events("step")) > 5, timeout=10_000)
    again.send("stop")
    assert ended(qtbot, heard).state == "stopped"
    [before] = heard.of("caught_up")
    assert before.step >= len(listener.events("step"))
    steps = [*before.series["train_loss"].x, *(event["global_step"] for event in heard.events("step"))]
    assert steps == list(range(1, len(steps) + 1))


def test_resume_goes_on_in_the_same_folder(qtbot, follow, play, job):
    play("start plan:60 steps:55 die")
    _, listener = follow()
    assert ended(qtbot, listener).state == "crashed"
    play("start plan:60 steps:60 finish")
    _, heard = follow(Job(job.folder))
    assert ended(qtbot, heard).state == "finished"
    [history] = heard.of("caught_up")
    assert history.step == 55
    for event in heard.events():
        history.add(event)
    assert list(history.series["train_loss"].x) == list(range(1, 61))


def test_a_run_folder_that_vanishes_is_said(qtbot, follow, tmp_path):
    _, listener = follow(Job(tmp_path / "gone"), start_worker=False)
    qtbot.waitUntil(lambda: bool(listener.of("failed")), timeout=5000)
    assert "folder is gone" in str(listener.of("failed")[0])


@pytest.mark.parametrize("steps", first_fast([20_000, 100_000]))
def test_very_many_events_are_replayed_in_one_signal(qtbot, follow, job, steps):
    with open(job.folder / jobs.EVENTS, "wb") as file:
        for step in range(1, steps + 1):
            file.write(files.dump_line({"protocol": 1, "time": float(step), "type": "step", "global_step": step,
                                        "train_loss": 2.0, "learning_rate": 1e-4, "grad_norm": 1.0,
                                        "tokens_per_second": 1000.0, "seconds_left": 3.0}))
    jobs.write_process_file(job.folder, 2**22 + 1)
    jobs.write_outcome(job.folder, jobs.Outcome("finished"))
    _, listener = follow(start_worker=False)
    ended(qtbot, listener)
    assert [kind for kind, _ in listener.said] == ["caught_up", "ended"]
    assert len(listener.of("caught_up")[0].series["train_loss"]) == steps


def test_very_many_steps_come_in_few_signals(qtbot, follow, play):
    play("start plan:2000 steps:2000 finish")
    _, listener = follow()
    ended(qtbot, listener, 60_000)
    assert len(listener.events("step")) == 2_000
    gaps = [later - earlier for earlier, later in pairwise(listener.batch_times)]
    # However long a busy machine takes, many events come in each, and few in a second.
    assert len(gaps) < 100 and sum(gaps) / len(gaps) >= 0.045


def test_a_link_where_the_commands_belong_is_said_and_the_run_followed(qtbot, follow, job, play, tmp_path):
    play("start load plan:40 steps:20 wait:stop")
    thread, listener = follow()
    qtbot.waitUntil(lambda: bool(listener.events("step")), timeout=10_000)
    (job.folder / jobs.COMMANDS).unlink(missing_ok=True)
    (job.folder / jobs.COMMANDS).symlink_to(tmp_path / "elsewhere")
    thread.send("checkpoint")
    thread.send("change", learning_rate=1e-4)
    qtbot.waitUntil(lambda: len(listener.of("failed")) == 2, timeout=10_000)
    assert all("It's a link" in str(error) for error in listener.of("failed"))
    assert not (tmp_path / "elsewhere").exists() and thread.isRunning()
