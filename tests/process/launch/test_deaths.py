"""One process of several dies or fails: it is named, the others end with it, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import sys

import psutil
import pytest

from slmstudio.core import files, jobs
from tests.support import wait
from tests.support.tiers import first_fast

pytestmark = pytest.mark.timeout(180)
RESUMED = "The run can be resumed. What was saved is kept. Resume continues from the last checkpoint."


def ranks_of(job: jobs.Job) -> dict[int, psutil.Process]:
    """The processes of a run that is at work, by rank."""
    next(event for event in job.follow() if event["type"] == "phase" and event["phase"] == "working")
    agent = psutil.Process(files.read_json(job.folder / jobs.PROCESS)["pid"])
    found: dict[int, psutil.Process] = {}

    def all_there() -> bool:
        found.update({int(each.environ()["RANK"]): each for each in agent.children()
                      if "launch_probe.py" in " ".join(each.cmdline()) and "RANK" in each.environ()})
        second = job.folder / "logs" / "rank-1.log"  # the first one's words are the job's
        return len(found) == 2 and second.exists() and "is to" in second.read_text() and "is to" in job.log_tail()

    wait.until(all_there, "both processes", ended=lambda: job.outcome() is not None)
    return found


def last_event(job: jobs.Job) -> tuple[str, str]:
    *_, last = job.events()
    return last["type"], last["state"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
@pytest.mark.parametrize(("rank", "sent", "sentence"), first_fast([
    (1, "SIGKILL", "Process 2 of 2 was killed (SIGKILL)."),
    (0, "SIGKILL", "Process 1 of 2 was killed (SIGKILL)."),
    (1, "SIGSEGV", "Process 2 of 2 crashed in a library (SIGSEGV).")]))
def test_a_process_that_a_signal_ends_is_named_and_takes_the_others_along(shared_run, rank, sent, sentence):
    job = shared_run({})
    job.start()
    found = ranks_of(job)
    found[rank].send_signal(getattr(signal, sent))
    outcome = job.wait()
    assert outcome.state == "crashed"
    assert str(outcome.user_error()) == f"{sentence} {RESUMED}"
    assert f"process {rank} is to work" in outcome.details
    psutil.wait_procs(list(found.values()), timeout=0)
    assert [each for each in found.values() if each.is_running()] == []
    assert last_event(job) == ("job_ended", "crashed")


@pytest.mark.full
@pytest.mark.parametrize(("todo", "state", "what"), [
    ({"1": "refuse", "0": "neighbour"}, "failed", "The moon is in the wrong phase."),
    ({"1": "leave", "0": "neighbour"}, "crashed", "Process 2 of 2 ended unexpectedly, with exit status 7."),
    ({"0": "fail"}, "failed", "Something went wrong in SLM Studio itself."),
    ({"0": "lost"}, "crashed", "Process 1 of 2 lost its connection to another one.")], ids=str)
def test_the_cause_is_told_not_what_came_of_it(shared_run, todo, state, what):
    job = shared_run(todo)
    job.start()
    outcome = job.wait()
    assert (outcome.state, outcome.user_error().what) == (state, what)


@pytest.mark.full
def test_the_first_process_obeys_and_its_word_is_the_outcome(shared_run):
    job = shared_run({})
    job.start()
    found = ranks_of(job)
    agent = next(job.events())["pid"]
    assert files.read_json(job.folder / jobs.PROCESS)["pid"] == agent != found[0].pid
    job.send("stop")
    outcome = job.wait()
    assert (outcome.state, outcome.result) == ("stopped", {"rank": 0, "agent": agent})
    assert [event["type"] for event in job.events()] == ["job_started", "lock", "phase", "job_ended"]
    assert "process 1 is to work" in (job.folder / "logs" / "rank-1.log").read_text()
    assert "process 1" not in job.log_tail() and "process 0 is to work" in job.log_tail()


@pytest.mark.full
@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_an_agent_that_is_killed_leaves_no_process_behind(shared_run):
    job = shared_run({})
    job.start()
    found = ranks_of(job)
    os.kill(files.read_json(job.folder / jobs.PROCESS)["pid"], signal.SIGKILL)
    assert job.wait().state == "crashed"
    wait.until(lambda: not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE
                               for each in found.values()), "the end of both")


@pytest.mark.full
def test_killing_the_job_ends_all_of_them(shared_run):
    job = shared_run({})
    job.start()
    found = ranks_of(job)
    job.kill()
    assert [each for each in found.values() if each.is_running()] == []
    assert job.outcome().state == "crashed"
