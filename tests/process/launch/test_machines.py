"""Two machines find each other, are checked, train, and one may leave: on the loopback of this one, and each in a
network name space of its own with a cable between them."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
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


@pytest.mark.parametrize(("what", "sentence"), [
    ("check other torch", " has torch 1.0, and process 1, on "),
    ("check other model", " has a different model: the weights in ")])
def test_a_process_that_differs_is_named(shared_run, tmp_path, what, sentence):
    (tmp_path / "model").mkdir()
    job = shared_run({"0": "check", "1": what})
    job.start()
    outcome = job.wait()
    told = outcome.user_error().what
    assert outcome.state == "failed" and told.startswith("Process 2 of 2, on ") and sentence in told


def test_a_process_that_never_comes_is_named(shared_run, tmp_path, monkeypatch):
    monkeypatch.setenv("LAUNCH_PROBE_SECONDS", "2")
    (tmp_path / "model").mkdir()
    job = shared_run({"0": "check", "1": "late"})
    job.start()
    outcome = job.wait()
    assert (outcome.state, outcome.user_error().what) == ("failed", "Process 2 of 2 didn't report within 2 seconds.")


PROBE = Path(__file__).parents[2] / "support" / "launch_probe.py"
FIRST, SECOND = "10.77.31.1", "10.77.31.2"


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def spaces():
    """Two name spaces with a cable between them, by name."""
    if sys.platform != "linux" or shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("this machine lets nobody make a network name space")
    tag = secrets.token_hex(2)
    names = [f"slm-{tag}-{number}" for number in (1, 2)]
    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", f"v1{tag}", "netns", names[0], "type", "veth", "peer", f"v2{tag}", "netns", names[1])
    except subprocess.CalledProcessError:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
        pytest.skip("this machine lets nobody make a network name space")
    for name, device, address in zip(names, (f"v1{tag}", f"v2{tag}"), (FIRST, SECOND), strict=True):
        ip("-n", name, "addr", "add", f"{address}/24", "dev", device)
        ip("-n", name, "link", "set", "lo", "up")
        ip("-n", name, "link", "set", device, "up")
    yield names
    for name in names:
        ip("netns", "del", name)


@pytest.fixture
def start(monkeypatch, spaces):
    """Starts a job on the first or on the second machine."""
    def begin(job: jobs.Job, machine: int) -> None:
        monkeypatch.setenv("SLMSTUDIO_WORKER", json.dumps(
            ["ip", "netns", "exec", spaces[machine], sys.executable, "-P", str(PROBE)]))
        job.start()

    return begin


@pytest.fixture
def first(shared_run, tmp_path, studio_home, monkeypatch):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_bytes(os.urandom(4096))
    job = shared_run({"*": "check"}, processes=1, nodes=2)
    monkeypatch.setattr(launch, "own_addresses", lambda: [FIRST])
    launch.write(job.folder, FIRST)
    return job


def wait_for_phase(job: jobs.Job, phase: str) -> None:
    event = next(event for event in job.follow() if event["type"] == "job_ended" or event.get("phase") == phase)
    assert event["type"] == "phase", job.outcome()


def test_machines_in_name_spaces_of_their_own_check_the_way_and_train(first, start):
    start(first, 0)
    wait_for_phase(first, "waiting for machines")
    second = new.join(first.folder / launch.FILE)
    start(second, 1)
    wait_for_phase(first, "working")
    locks = [event for event in first.events() if event["type"] == "lock"]
    assert [(each["enforced"], each["peers"]) for each in locks] == [(True, [FIRST, SECOND])]
    first.send("stop")
    (second.folder / "run" / "done").touch()
    assert (first.wait().state, second.wait().state) == ("stopped", "finished")


def test_a_way_that_drops_everything_is_named_by_who_joins(first, start, spaces):
    start(first, 0)
    wait_for_phase(first, "waiting for machines")
    ip("-n", spaces[0], "route", "add", "blackhole", f"{SECOND}/32")  # what the first machine answers is lost
    second = new.join(first.folder / launch.FILE)
    start(second, 1)
    assert FIRST in second.wait().user_error().what
    first.send("stop")
    assert first.wait().state == "cancelled"
