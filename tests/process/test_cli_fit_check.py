"""The fit check in the terminal, with a real worker; and what plan says of a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.every_method import told

from slmstudio.cli import commands
from slmstudio.cli.runs import plan as plan_command
from slmstudio.core import files
from slmstudio.core.hardware.machine import read_machine
from slmstudio.core.model import facts
from slmstudio.core.run import config_file
from slmstudio.core.run.memory import measured, outlook


@pytest.fixture
def planned(studio_home, tmp_path, tiny_model, rows_file, capsys) -> tuple[Path, dict]:
    """A run configuration, and what plan said of it."""
    out = tmp_path / "run.json"
    return out, told(capsys, "plan", "--model", tiny_model, "--data", rows_file, "--out", out)


@pytest.mark.full
def test_a_plan_is_measured_and_then_knows_its_time(planned, capsys, tiny_model, rows_file):
    out, plan = planned
    assert plan["outlook"]["fits"] == "fits" and plan["outlook"]["seconds"] is None
    before = out.read_bytes()
    result = told(capsys, "fit-check", out)
    assert set(result) >= {"estimate", "measured_peak", "seconds_per_step", "tokens_per_second", "fits", "free",
                           "device", "ran_out"}
    assert set(result["estimate"]) == {"low", "likely", "high"}
    assert result["fits"] and not result["ran_out"] and result["seconds_per_step"] > 0
    assert out.read_bytes() == before
    again = told(capsys, "plan", "--model", tiny_model, "--data", rows_file, "--out", out)["outlook"]
    assert again["measured_peak"] == result["measured_peak"] and again["seconds"] > 0
    assert again["low"] < result["measured_peak"] < again["high"]


def test_what_cannot_be_tried_is_told_in_a_sentence(studio_home, tmp_path, capsys, planned):
    out, _ = planned
    state = {**(files.read_json(out) or {}), "train_file": str(tmp_path / "gone.jsonl")}
    out.write_text(json.dumps(state))
    assert commands.main(["fit-check", str(out), "--json"]) == 2
    assert "gone.jsonl doesn't exist" in capsys.readouterr().out
    assert commands.main(["fit-check", str(tmp_path / "no.json")]) == 2


def test_the_line_of_a_plan(planned, tiny_model):
    out, _ = planned
    config, about, machine = config_file.load(out), facts.read_model(tiny_model), read_machine()
    plain = plan_command.outlook_text(outlook.look(about, config, machine, 8))
    assert plain.startswith("Needs ") and " (estimated). " in plain and plain.endswith(" is free.")
    measured.record(measured.measure(about, config, machine, "run", 100, 2**30, seconds_per_step=1000.0))
    line = plan_command.outlook_text(outlook.look(about, config, machine, 8))
    assert line.startswith("Needs 1 GB (measured on this machine).") and "It takes about " in line
    measured.record(measured.measure(about, config, machine, "run", 100, 2**40, ran_out=True))
    assert plan_command.outlook_text(outlook.look(about, config, machine, 8)).endswith("memory ran out at 1 TB.")
