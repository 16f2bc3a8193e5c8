"""What several processes need of a machine, and the file that takes a run to another machine."""

from __future__ import annotations

import dataclasses
import json

import pytest

from slmstudio.core.errors import UserError
from slmstudio.core.hardware.machine import Gpu, Machine, read_machine
from slmstudio.core.run import adjust, folder, launch
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.planning import plan_inputs

BARE = Machine("Linux", "a processor", 4, 8, 32 * 1024**3, 16 * 1024**3, (), False, False)
CARD = Gpu(0, "RTX 4090", 24 * 1024**3, 23 * 1024**3, (8, 9))
TWO = dataclasses.replace(BARE, gpus=(CARD, dataclasses.replace(CARD, index=1)))
WINDOWS = ("Windows has no NCCL, which cards need to exchange what they learn. Train on one card, or start SLM Studio "
           "inside WSL2, where several cards work.")


@pytest.mark.parametrize(("machine", "fields", "said"), [
    (BARE, {"processes": 1}, []),
    (BARE, {"processes": 8}, []),
    (BARE, {"processes": 9}, [
        "9 processes are asked for, but this machine has no card that can be used, and its processor "
                              "runs 8 threads."]),
    (TWO, {"processes": 2}, []),
    (TWO, {"processes": 3}, ["3 cards are asked for, but this machine has 2."]),
    (TWO, {"processes": 3, "device": "cpu"}, []),
    (dataclasses.replace(TWO, system="Windows"), {"processes": 2}, [WINDOWS]),
    (dataclasses.replace(BARE, system="Windows"), {"processes": 2}, []),
    (TWO, {"nodes": 2, "start_from": "x"}, ["A run that continues another one can't be trained on several machines "
                                            "yet."])])
def test_what_several_processes_need(machine, fields, said):
    config = RunConfig(name="x", model="m", train_file="t", **fields)
    assert [problem.message for problem in launch.problems(config, machine)] == said


def test_cards_that_are_hidden_do_not_count(fake_nvml, monkeypatch):
    fake_nvml.set(count=2)
    config = RunConfig(name="x", model="m", train_file="t", processes=2)
    launch.need(config, read_machine())
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    with pytest.raises(UserError, match="2 cards are asked for, but this machine has 1"):
        launch.need(config, read_machine())


def test_plain_words_for_how_cards_share_a_run():
    assert plan_inputs.overrides({"parallelism": "faster"}) == {"parallelism": "ddp"}
    assert plan_inputs.overrides({"parallelism": "bigger"}) == {"parallelism": "fsdp"}


@pytest.fixture
def run(tmp_path):
    """The folder of a run for two machines."""
    config = RunConfig(name="probe", model=str(tmp_path / "model"), train_file=str(tmp_path / "rows.jsonl"), nodes=2)
    return folder.create(config, tmp_path).folder


def test_the_file_holds_the_run_as_it_is_now_and_stays_good_for_the_next_start(run, monkeypatch):
    made = launch.write(run, "127.0.0.1", 4711)
    assert launch.read(run / launch.FILE) == made and made.address == "127.0.0.1:4711"
    adjust.consent(run, {"learning_rate": 0.5})
    again = launch.write(run)
    assert (again.id, again.address, again.config.learning_rate) == (made.id, made.address, 0.5)
    monkeypatch.setattr(launch, "own_addresses", lambda: ["198.51.100.7"])
    state = json.loads((run / launch.FILE).read_text())
    (run / launch.FILE).write_text(json.dumps({**state, "host": "192.0.2.1"}))
    assert launch.write(run).address == "198.51.100.7:4711", "the machine has another address by now"


def test_the_file_of_an_earlier_version_keeps_its_address(run):
    state = {"format": 1, "host": "127.0.0.1", "port": 4711, "id": "ab", "used": True}
    (run / launch.FILE).write_text(json.dumps(state))
    with pytest.raises(UserError):
        launch.read(run / launch.FILE)
    assert launch.write(run).address == "127.0.0.1:4711"


@pytest.mark.parametrize("content", ["", "[]", '{"host": "a", "port": 1, "id": "x", "run": {"name": "x"}}'])
def test_another_file_is_refused(tmp_path, content):
    (tmp_path / "rows.json").write_text(content)
    with pytest.raises(UserError):
        launch.read(tmp_path / "rows.json")


@pytest.mark.parametrize(("machines", "ends"), [
    (2, ["join launch.json"]), (3, ["join launch.json --machine 2", "join launch.json --machine 3"])])
def test_what_is_typed_on_each_of_the_others(machines, ends):
    lines = launch.commands(machines).splitlines()
    assert [line.partition(" join")[2] for line in lines] == [end.removeprefix("join") for end in ends]


def test_how_to_join_in_words(tmp_path):
    file = tmp_path / launch.FILE
    assert launch.how_to_join(file, 2) == (
        f"Copy {file} to the other machine. The same version of SLM Studio and the same base model must be there. Do "
        "this only on a network that you trust: what the machines send each other, including the rows, isn't "
        "encrypted. Then type this there, in the folder of the copy:")
    assert "one of these lines" in launch.how_to_join(file, 3)


def test_only_an_address_of_this_machine_will_do():
    with pytest.raises(UserError, match=r"192\.0\.2\.1 isn't an address of this machine\."):
        launch.own_address("192.0.2.1")
    with pytest.raises(UserError, match=r"slmstudio\.invalid can't be found"):
        launch.own_address("slmstudio.invalid")
