"""What several processes need of a machine, and how another machine is invited."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest

from slmstudio.cli import progress
from slmstudio.core.errors import UserError
from slmstudio.core.hardware.machine import Gpu, Machine, read_machine
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.launch import checks, invitation
from slmstudio.core.run.planning import planner

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
    assert [problem.message for problem in checks.problems(config, machine)] == said


def test_cards_that_are_hidden_do_not_count(fake_nvml, monkeypatch):
    fake_nvml.set(count=2)
    config = RunConfig(name="x", model="m", train_file="t", processes=2)
    checks.need(config, read_machine())
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    with pytest.raises(UserError, match="2 cards are asked for, but this machine has 1"):
        checks.need(config, read_machine())


def test_plain_words_for_how_cards_share_a_run():
    assert planner.overrides({"parallelism": "faster"}) == {"parallelism": "ddp"}
    assert planner.overrides({"parallelism": "bigger"}) == {"parallelism": "fsdp"}


def test_an_invitation_is_kept_with_the_run_and_each_is_another(tmp_path):
    made = invitation.make(tmp_path, "127.0.0.1", 4711)
    assert invitation.read(tmp_path) == made
    assert re.fullmatch("[0-9a-f]{32}", made.id) and made.address == "127.0.0.1:4711"
    assert made.command().endswith(f" join 127.0.0.1:4711 --id {made.id}")
    assert invitation.make(tmp_path, "127.0.0.1").port == 29500 != made.port
    assert invitation.read(tmp_path).id != made.id


def test_each_start_takes_an_invitation_of_its_own(tmp_path):
    made = invitation.make(tmp_path, "127.0.0.1", 4711)
    assert invitation.take(tmp_path) == made, "its command has been shown already"
    again = invitation.take(tmp_path)
    assert again == invitation.read(tmp_path) and again.id != made.id and again.address == made.address
    (tmp_path / invitation.FILE).write_text(json.dumps({**again.to_dict(), "host": "192.0.2.1", "used": True}))
    assert invitation.take(tmp_path).host in invitation.own_addresses(), "the machine has another address by now"


def test_only_an_address_of_this_machine_will_do():
    with pytest.raises(UserError, match=r"192\.0\.2\.1 isn't an address of this machine\."):
        invitation.own_address("192.0.2.1")
    with pytest.raises(UserError, match=r"slmstudio\.invalid can't be found"):
        invitation.own_address("slmstudio.invalid")


def test_a_run_of_several_machines_without_an_invitation(tmp_path: Path):
    with pytest.raises(UserError, match="needs several machines, and nothing says where they meet"):
        invitation.read(tmp_path)


def test_the_machines_in_a_sentence():
    machines = [{"host": "desk", "state": "joined", "message": ""}, {"host": "attic", "state": "left", "message": ""},
                {"host": "old", "state": "refused", "message": "It has another model."}]
    assert progress.machines_text({"joined": 2, "wanted": 3, "machines": machines}) == (
        "2 of 3 machines have joined: this one and desk. old can't take part. It has another model. attic has left.")
    assert progress.machines_text({"joined": 1, "wanted": 2, "machines": []}) == "1 of 2 machines has joined: this one."
