"""Two agents on this machine's loopback stand for two machines: they find each other, train, and one may leave."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from pathlib import Path

import pytest

from slmstudio.core import files, jobs
from slmstudio.core.jobs import new
from slmstudio.core.run import launch
from tests.support.two_rank_runs import events, furthest, make

pytestmark = [pytest.mark.timeout(240), pytest.mark.full]


@pytest.fixture
def launched(shared_run, tmp_path, studio_home):
    """A run of two machines whose first one waits for the other, and the other's copy of its launch.json."""

    def make(todo: dict[str, str]) -> tuple[jobs.Job, Path]:
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "model.safetensors").write_bytes(os.urandom(4096))
        job = shared_run(todo, processes=1, nodes=2)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        launch.write(job.folder, "127.0.0.1", port)
        job.start()
        next(event for event in job.follow() if event["type"] in ("machines", "job_ended"))
        assert job.outcome() is None, job.outcome()
        (tmp_path / "elsewhere").mkdir()
        return job, Path(shutil.copy(job.folder / launch.FILE, tmp_path / "elsewhere"))

    return make


def joined(file: Path, machine: int = 2, model: Path | None = None) -> jobs.Job:
    job = new.join(file, machine, model)
    job.start()
    return job


def wait_for_work(job: jobs.Job) -> None:
    event = next(event for event in job.follow() if event["type"] == "job_ended" or event.get("phase") == "working")
    assert event["type"] == "phase", job.outcome()


def test_a_machine_that_leaves_in_the_middle_ends_the_run(launched):
    first, file = launched({"0": "neighbour", "1": "work"})
    second = joined(file)
    wait_for_work(first)
    second.send("cancel")
    assert (second.wait().state, first.wait().state) == ("cancelled", "crashed")
    assert [event["joined"] for event in first.events() if event["type"] == "machines"] == [1, 2]


def test_a_machine_without_the_model_or_with_a_number_that_is_not_of_the_run_is_refused(launched, tmp_path):
    first, file = launched({})
    assert joined(file, model=tmp_path / "none").wait().state == "failed"
    assert joined(file, machine=3).wait().state == "failed"
    first.send("stop")
    assert first.wait().state == "cancelled"


def test_two_machines_learn_as_one_and_go_on_after_one_was_lost(tiny_model, tmp_path, studio_home):
    """The real training: the other machine has its copy of the run in a folder of its own, and no rows."""
    alone, run = make(tiny_model, tmp_path), make(tiny_model, tmp_path, nodes=2, save_steps=1)
    single, first = jobs.Job(alone), jobs.Job(run)
    single.start()
    assert single.wait().state == "finished"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    launch.write(run, "127.0.0.1", port)
    file = Path(shutil.copy(run / launch.FILE, tmp_path))
    first.start()
    second = joined(file)
    next(event for event in first.follow() if event["type"] in ("checkpoint_saved", "job_ended"))
    os.kill(files.read_json(second.folder / jobs.PROCESS)["pid"], signal.SIGKILL)
    lost = first.wait()
    assert lost.state == "crashed" and lost.user_error().remedy, lost
    first.start()
    second = joined(file)
    assert (first.wait().state, second.wait().state) == ("finished", "finished"), first.outcome()
    assert events(run, "resumed_from") and (run / "adapter" / "adapter_model.safetensors").is_file()
    assert not any(second.folder.rglob("*.safetensors"))
    assert furthest(run, alone) <= 1e-6
