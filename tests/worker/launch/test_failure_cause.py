"""Of several processes that end together, the one that the others ended for is told."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from slmstudio.core import jobs
from slmstudio.core.errors import UserError
from slmstudio.worker.launch import agent
from slmstudio.worker.launch.agent import Ended
from slmstudio.worker.runtime import ending

REFUSED = jobs.Outcome("failed", UserError("No.").to_dict())
DEFECT = jobs.Outcome("failed", UserError("A defect.").to_dict(), "Traceback: ValueError")
LOST = jobs.Outcome("lost", UserError("Rank 1 is gone.").to_dict())
SILENT = jobs.Outcome("lost")
STOPPED = jobs.Outcome("stopped")


def ended(rank: int, code: int, outcome: jobs.Outcome | None = None) -> Ended:
    return Ended(rank, code, outcome, "its log")


@pytest.mark.parametrize(("all_of_them", "cause"), [
    ([ended(0, -signal.SIGTERM), ended(1, -9)], 1),
    ([ended(0, 1, LOST), ended(1, -9)], 1),
    ([ended(0, 1, LOST), ended(1, 7)], 1),
    ([ended(0, 1, LOST), ended(1, 1, DEFECT), ended(2, 1, LOST)], 1),
    ([ended(0, 1, REFUSED), ended(1, 1, REFUSED)], 0),
    ([ended(0, -signal.SIGTERM, LOST), ended(1, 1, LOST)], 0),
    ([ended(0, 1, SILENT), ended(1, 1, LOST)], 1),
    ([ended(0, 1, LOST), Ended(1, -9, None, "", escalated=True)], 0),
    ([ended(0, 0, STOPPED), ended(1, 1, DEFECT)], 1)])
def test_the_cause(all_of_them, cause):
    assert agent.first_cause(all_of_them).rank == cause


@pytest.mark.parametrize(("seconds", "kind"), [(0.0, agent.KILLED), (10.0, agent.ENDED)])
@pytest.mark.parametrize("clock_set_by", [-86_400, 0, 86_400])
def test_a_kill_long_after_the_first_word_is_the_agents_own_whatever_the_clock_says(
        tmp_path, monkeypatch, seconds, kind, clock_set_by):
    place = ending.report_folder(tmp_path, 0)
    place.mkdir(parents=True)
    now = time.monotonic()
    with monkeypatch.context() as earlier:
        earlier.setattr(time, "monotonic", lambda: now - seconds)
        ending.say_ended(place)
    jobs.write_outcome(place, LOST)
    os.utime(place / jobs.OUTCOME, (time.time() + clock_set_by,) * 2)
    assert [each.kind for each in agent.read(tmp_path, {0: 1, 1: -9})] == [agent.LOST_OTHERS, kind]


@pytest.mark.parametrize(("cause", "memory", "sentence"), [
    (ended(1, -9), False, "Process 2 of 4 was killed (SIGKILL)."),
    (ended(1, -9), True, "Process 2 of 4 was killed because memory ran out (SIGKILL)."),
    (ended(2, -11), False, "Process 3 of 4 crashed in a library (SIGSEGV)."),
    (ended(0, -15), False, "Process 1 of 4 was ended (SIGTERM)."),
    (ended(0, -15, LOST), False, "Rank 1 is gone."),
    (ended(0, 1, SILENT), False, "Process 1 of 4 lost its connection to another one."),
    (ended(0, 7), False, "Process 1 of 4 ended unexpectedly, with exit status 7."),
    (ended(3, 1, REFUSED), False, "No.")])
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="signals are POSIX")
def test_the_sentence(cause, memory, sentence):
    outcome = agent.outcome_of(cause, Path("run"), 4, memory)
    assert outcome.user_error().what == sentence
    assert outcome is cause.outcome or (outcome.state, outcome.details) == ("crashed", "its log")
