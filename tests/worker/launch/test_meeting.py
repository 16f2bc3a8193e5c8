"""What the machines of a run say before they train: who isn't invited learns nothing, and no machine is obeyed further
than a run of several machines needs."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slmstudio.core import files, jobs
from slmstudio.core.errors import UserError
from slmstudio.core.jobs import new, processes
from slmstudio.core.model.fingerprint import fingerprint
from slmstudio.core.run import adjust
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.launch.invitation import Invitation
from slmstudio.worker import __main__ as worker
from slmstudio.worker.launch import first_machine, join, ranks_of
from slmstudio.worker.launch import meeting_words as words
from slmstudio.worker.runtime.context import JobContext

ID = "ab" * 16


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(secrets.token_bytes(4096))
    return folder


@pytest.fixture
def waiting(tmp_path):
    """A first machine that waits for one other, and the room it is in."""
    (tmp_path / "run").mkdir()
    config = RunConfig(name="x", model="m", train_file="t", nodes=2)
    job = JobContext(tmp_path / "run", config.to_dict())
    first = first_machine.FirstMachine(job, config, Invitation("127.0.0.1", 0, ID))
    return first, words.Room(first._server, ID)


@pytest.fixture
def offers(model, studio_home) -> Callable[..., tuple[words.Room, jobs.Job]]:
    """A first machine that offers a run of two machines and begins at once, and this machine's job to join it."""
    def begin(run: dict[str, Any] | None = None, adjusted: dict[str, Any] | None = None,
              addresses: Any = ("127.0.0.1", "127.0.0.1"), nodes: Any = 2, name: str = "data/train.jsonl.gz",
              **other: Any) -> tuple[words.Room, jobs.Job]:
        room = words.Room(ranks_of.open_store("127.0.0.1", 0), ID)
        config = RunConfig(name="x", model="elsewhere", train_file="t", nodes=2, device="cpu")
        sent = {jobs.RUN: json.dumps({**config.to_dict(), **(run or {})}).encode(),
                adjust.FILE: json.dumps({"values": adjusted or {}}).encode(), name: b"rows"}
        for number, content in enumerate(sent.values()):
            room.put(f"file/{number}/0", content)
        room.say(words.HERE, True)
        room.say(words.OFFER, {
            "protocol": words.PROTOCOL, "name": "x", "host": "desk", "nodes": nodes, "processes": 1, "model": "model",
            "path": str(model), "weights": fingerprint(model), "versions": join.versions(), "files": [
                {"name": name, "sha256": hashlib.sha256(content).hexdigest(), "pieces": 1}
                for name, content in sent.items()], **other})
        room.say("begin", list(addresses) if isinstance(addresses, tuple) else addresses)
        return room, new.join("127.0.0.1", _port_of(room), ID)

    return begin


def _port_of(room: words.Room) -> int:
    return int(room.store.underlying_store.port)


def met(room: words.Room, job: jobs.Job, monkeypatch: pytest.MonkeyPatch) -> join._Place:
    """Join, and have the first machine begin as soon as this one is ready."""
    begins = join._Place._check_cards

    def begin(place: join._Place) -> None:
        begins(place)
        room.say(words.GO, {"numbers": [place.number], "addresses": room.hear("begin")})

    monkeypatch.setattr(join._Place, "_check_cards", begin)
    place, meeting = join._meet(JobContext(job.folder, job.request()))
    assert (meeting.node, meeting.peers, meeting.id) == (1, ("127.0.0.1", "127.0.0.1"), room.name)
    return place


def test_who_reaches_the_store_finds_no_id_and_no_rows():
    store = ranks_of.open_store("127.0.0.1")
    room = words.Room(store, ID)
    room.say(words.OFFER, {"name": "secret plan"})
    room.put("file/0/0", b"rows")
    keys = store.list_keys()
    assert len(keys) >= 2
    for key in keys:
        assert ID not in key and b"secret" not in store.get(key) and b"rows" not in store.get(key)
    assert room.hear(words.OFFER) == {"name": "secret plan"} and room.get("file/0/0") == b"rows"


def test_a_message_of_who_does_not_know_the_id_or_under_another_key_is_refused():
    store = ranks_of.open_store("127.0.0.1")
    room = words.Room(store, ID)
    room.store.set("go", json.dumps({"numbers": [1]}))
    room.say("machine/1", {"host": "desk"})
    room.store.set("machine/2", room.store.get("machine/1"))
    for key in ("go", "machine/2"):
        with pytest.raises(ValueError, match=f"{key} isn't sealed"):
            room.hear(key)


@pytest.mark.parametrize(("said", "own", "found"), [
    ("10.0.0.5", "10.0.0.4", "10.0.0.5"), ("127.0.0.1", "127.0.0.1", "127.0.0.1"),
    ("::ffff:10.0.0.5", "10.0.0.4", "10.0.0.5"), ("127.0.0.1", "10.0.0.4", None), ("::1", "10.0.0.4", None),
    ("::ffff:127.0.0.1", "10.0.0.4", None), ("0.0.0.0", "10.0.0.4", None), ("224.0.0.1", "10.0.0.4", None),
    ("10.0.0.5,127.0.0.1", "10.0.0.4", None), ("fe80::1%a,127.0.0.1", "10.0.0.4", None), ("desk", "10.0.0.4", None),
    (None, "10.0.0.4", None)])
def test_an_address_is_one_of_another_machine(said, own, found):
    if found is not None:
        assert words.checked_address(said, own) == found
        return
    with pytest.raises(ValueError):
        words.checked_address(said, own)


def test_the_first_machine_passes_over_what_it_cannot_understand_and_refuses_odd_addresses(waiting):
    first, room = waiting
    honest = {"host": "attic", "address": "127.0.0.1", "problem": ""}
    for number, said in enumerate([["no", "names"], {**honest, "address": "127.0.0.1,10.0.0.9"}, {"host": "desk"},
                                   honest], 1):
        room.say(f"machine/{number}", said)
    room.store.set("machine/5", "{}")
    room.store.add(words.NUMBERS, 10**12)
    states = first._look()
    assert [(each["number"], each["state"], each["address"]) for each in states] == [
        (2, "refused", ""), (4, "joined", "127.0.0.1")]


def test_once_it_begins_the_rows_are_not_kept(waiting):
    first, room = waiting
    (first._job.folder / "rows").write_bytes(b"row" * 10)
    assert first._put(0, "rows")["pieces"] == 1
    room.say("machine/1", {"host": "attic", "address": "127.0.0.1", "problem": ""})
    room.store.add(words.NUMBERS, 1)
    first._offer = lambda: None
    assert first.gather().peers == ("127.0.0.1", "127.0.0.1")
    assert not [key for key in room.store.underlying_store.list_keys() if "file/" in key]


def test_a_run_is_joined_as_it_was_sent_and_keeps_to_this_machine(offers, model, tmp_path, monkeypatch):
    private = tmp_path / "private"
    private.mkdir()
    opened = {name: str(private) for name in ("train_file", "eval_file", "start_from", "path", "data", "beside", "out")}
    room, job = offers({**opened, "kind": "download", "config": opened}, {"seed": 7, "start_from": str(private)})
    place = met(room, job, monkeypatch)
    run = files.read_json(place.folder / jobs.RUN)
    assert str(private) not in json.dumps(run)
    assert (run["kind"], run["model"], run["seed"], run["nodes"]) == ("train", str(model), 7, 2)
    assert sorted(path.name for path in place.folder.iterdir()) == ["data", jobs.RUN]


@pytest.mark.parametrize("odd", [
    {"run": {"nodes": 1}}, {"nodes": 1, "run": {"nodes": 1}}, {"addresses": ("127.0.0.2", "127.0.0.1")},
    {"addresses": ("127.0.0.1", "127.0.0.1,10.0.0.9")}, {"addresses": ("127.0.0.1",) * 3}, {"addresses": 5},
    {"files": None}, {"versions": 3}, {"files": [{"name": "run.json"}]}, {"host": None, "files": 3}], ids=str)
def test_what_makes_no_sense_is_told_and_not_obeyed(offers, monkeypatch, odd):
    room, job = offers(**odd)
    with pytest.raises(UserError) as error:
        met(room, job, monkeypatch)
    assert error.value.what == f"What the machine at 127.0.0.1:{_port_of(room)} says can't be understood."


def test_a_file_that_is_not_part_of_a_run_is_refused(offers, monkeypatch):
    room, job = offers(name="outcome.json")
    with pytest.raises(UserError, match="desk offers a file that isn't part of a run"):
        met(room, job, monkeypatch)


def test_a_folder_without_weights_is_not_the_model_that_is_asked_for(offers, tmp_path, monkeypatch):
    (tmp_path / "letters").mkdir()
    room, job = offers(path=str(tmp_path / "letters"), weights=None)
    with pytest.raises(UserError, match="doesn't have the model"):
        met(room, job, monkeypatch)


def test_a_machine_that_is_gone_is_told_in_a_sentence(offers, monkeypatch):
    room, job = offers()

    def gone(*of: Any) -> None:
        raise join.DistError("Broken pipe")

    monkeypatch.setattr(words.Room, "get", gone)
    with pytest.raises(UserError, match="no longer waiting"):
        met(room, job, monkeypatch)


@pytest.mark.parametrize("kind", ["download", "export", "join"])
def test_a_process_of_an_agent_trains_and_does_nothing_else(tmp_path, monkeypatch, kind):
    jobs.Job.at(tmp_path, kind)
    monkeypatch.setattr(processes, "give_way", lambda: None)
    monkeypatch.setattr("slmstudio.worker.runtime.agent_side.begin", lambda *of: None)
    assert worker._run_rank(Path(tmp_path), 0) == 2
    assert not list(tmp_path.rglob(jobs.OUTCOME))
