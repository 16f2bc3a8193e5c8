"""Before torchrun's rendezvous, machines tell each other their addresses at the first one's store."""

from __future__ import annotations

import json
import socket
import threading
from datetime import timedelta

import pytest
from torch.distributed import PrefixStore, TCPStore

from slmstudio.core import files, jobs
from slmstudio.core.errors import UserError
from slmstudio.core.run import launch
from slmstudio.core.run.config import RunConfig
from slmstudio.worker.launch import agent, ranks_of
from slmstudio.worker.runtime.context import Cancelled, JobContext


@pytest.fixture
def launched():
    """A run of two machines, at a free port of this machine's loopback."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return launch.Launch("127.0.0.1", port, "ab" * 16, RunConfig(name="x", model="m", train_file="t", nodes=2))


@pytest.fixture
def job(tmp_path):
    """Makes a job's context: `job("first")`."""
    def make(name: str) -> JobContext:
        folder = tmp_path / name
        folder.mkdir()
        files.write_atomically(folder / jobs.REQUEST, json.dumps({"protocol": 1, "kind": "join"}))
        return JobContext(folder, {"kind": "join"})

    return make


def test_each_learns_the_addresses_of_all(job, launched):
    met = {}

    def go(number: int, context: JobContext) -> None:
        met[number] = ranks_of.meet(context, launched, number)

    threads = [threading.Thread(target=go, args=(number, job(str(number)))) for number in (0, 1)]
    [each.start() for each in threads]
    [each.join() for each in threads]
    assert [(met[number].node, met[number].peers) for number in (0, 1)] == [
        (number, ("127.0.0.1", "127.0.0.1")) for number in (0, 1)]


def test_who_stops_waiting_frees_its_number_and_one_that_is_taken_is_refused(job, launched):
    server = TCPStore("127.0.0.1", launched.port, None, True, timedelta(seconds=5), wait_for_workers=False)
    room, leaving = PrefixStore(f"machines/{launched.id}", server), job("leaving")
    jobs.Job(leaving.folder).send("cancel")
    with pytest.raises(Cancelled):
        ranks_of.meet(leaving, launched, 1)
    assert not room.check(["1"])
    room.set("1", "127.0.0.1")
    with pytest.raises(UserError) as error:
        ranks_of.meet(job("late"), launched, 1)
    assert error.value.what == "Machine 2 of this run is there already."


def test_a_first_machine_that_is_not_waiting(job, launched, monkeypatch):
    monkeypatch.setattr(ranks_of, "CONNECT_SECONDS", 0.1)
    with pytest.raises(UserError) as error:
        ranks_of.meet(job("second"), launched, 1)
    assert error.value.what == (
        f"The first machine can't be reached at 127.0.0.1:{launched.port}: Connection refused.")


@pytest.mark.parametrize(("text", "own", "address"), [
    ("192.168.1.7", "192.168.1.20", "192.168.1.7"), ("::ffff:192.168.1.7", "192.168.1.20", "192.168.1.7"),
    ("127.0.0.1", "127.0.0.1", "127.0.0.1"), ("127.0.0.1", "192.168.1.20", None), ("0.0.0.0", "192.168.1.20", None),
    ("224.0.0.1", "192.168.1.20", None), ("fe80::1%a,10.0.0.1", "192.168.1.20", None),
    ("10.0.0.1,10.0.0.2", "192.168.1.20", None), ("desk", "192.168.1.20", None)])
def test_only_the_address_of_another_machine_is_opened(text, own, address):
    if address is None:
        with pytest.raises(ValueError):
            ranks_of.checked_address(text, own)
    else:
        assert ranks_of.checked_address(text, own) == address


@pytest.mark.parametrize(("machine", "what"), [
    (3, "The run has no machine 3."), (2, "This machine doesn't have the model m.")])
def test_a_machine_that_cannot_take_part(job, launched, studio_home, tmp_path, monkeypatch, machine, what):
    monkeypatch.setattr(launch, "read", lambda file: launched)
    context = job("second")
    context.request |= {"file": str(tmp_path / launch.FILE), "machine": machine, "model": None}
    with pytest.raises(UserError) as error:
        agent.run(context)
    assert error.value.what == what
