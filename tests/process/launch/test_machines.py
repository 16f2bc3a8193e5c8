"""Two agents on this machine's loopback stand for two machines: they find each other, train, and one may leave."""

from __future__ import annotations

import json
import os
import signal
import socket

import pytest

from slmstudio.core import files, jobs
from slmstudio.core.jobs import new
from slmstudio.core.run.launch import invitation
from tests.support import wait

pytestmark = [pytest.mark.timeout(240), pytest.mark.full]


@pytest.fixture
def base(tmp_path):
    """What every machine has: a model's folder, here without a model in it, and on the first one rows."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_bytes(os.urandom(4096))
    rows = [{"instruction": f"What is {n} + 1?", "output": str(n + 1)} for n in range(40)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


@pytest.fixture
def launched(shared_run, base, studio_home):
    """A run of two machines whose first one waits for the other: (its job, the invitation)."""

    def make(todo: dict[str, str]) -> tuple[jobs.Job, invitation.Invitation]:
        job = shared_run(todo, processes=1, nodes=2)
        invited = invitation.make(job.folder, "127.0.0.1", 0)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        invited = invitation.make(job.folder, "127.0.0.1", port)
        job.start()
        next(event for event in job.follow() if event["type"] in ("machines", "job_ended"))
        assert job.outcome() is None, job.outcome()
        return job, invited

    return make


def joined(invited: invitation.Invitation, **other: object) -> jobs.Job:
    job = new.join(invited.host, invited.port, str(other.get("id", invited.id)), other.get("model"))
    job.start()
    return job


def machines(job: jobs.Job) -> list[tuple[int, list[str]]]:
    return [(event["joined"], [each["state"] for each in event["machines"]]) for event in job.events()
            if event["type"] == "machines"]


def test_two_machines_train_and_end_together(launched):
    first, invited = launched({"*": "check"})
    second = joined(invited)
    next(event for event in first.follow() if event["type"] in ("phase", "job_ended") and
         event.get("phase", "working") == "working")
    copy = second.folder / "run"
    kept = [(each.name, each.read_bytes()) for each in sorted((copy / "data").iterdir())]
    assert kept == [(each.name, each.read_bytes()) for each in sorted((first.folder / "data").iterdir())]
    assert not (copy / jobs.EVENTS).exists()
    first.send("stop")
    (copy / "done").touch()  # the other process of this test's job looks there
    assert (first.wait().state, second.wait().state) == ("stopped", "finished")
    assert machines(first) == [(1, []), (2, ["joined"])]


@pytest.mark.parametrize("asked", [True, False], ids=["asked to", "killed"])
def test_a_machine_that_leaves_in_the_middle_is_named(launched, asked):
    first, invited = launched({"0": "neighbour", "1": "work"})
    second = joined(invited)
    next(event for event in first.follow() if event["type"] in ("phase", "job_ended") and
         event.get("phase", "working") == "working")
    if asked:
        second.send("cancel")
        assert second.wait().state == "cancelled"
    else:
        os.kill(files.read_json(second.folder / jobs.PROCESS)["pid"], signal.SIGKILL)
    outcome = first.wait()
    assert outcome.state == "crashed"
    host = socket.gethostname()
    assert outcome.user_error().what == (f"The machine {host} left: somebody stopped the run on it." if asked
                                         else f"The machine {host} is gone.")


def test_a_machine_with_another_model_or_id_is_refused_and_the_first_one_waits(launched, base):
    first, invited = launched({})
    (base / "other").mkdir()
    (base / "other" / "model.safetensors").write_bytes(os.urandom(4096))
    second = joined(invited, model=base / "other")
    host = socket.gethostname()
    assert second.wait().user_error().what == (
        f"{host} doesn't have the model model.")
    wait.until(lambda: machines(first)[-1] == (1, ["refused"]), "the refusal")
    third = joined(invited, id="0123")
    assert third.wait().user_error().what == (
        f"The machine at {invited.address} offers no run with this id.")
    first.send("stop")
    assert first.wait().state == "cancelled"
    fourth = joined(invited)
    assert fourth.wait().user_error().what == (
        f"Nothing is waiting at {invited.address}: the first machine hasn't started the run, or has ended it.")
