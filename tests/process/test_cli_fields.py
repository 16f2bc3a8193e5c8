"""`slmstudio fields`: what --set can change, for people and for programs."""

from __future__ import annotations

import json

import pytest

from slmstudio.cli import commands
from slmstudio.core.run.config import FIELDS, default_of
from slmstudio.core.run.planning import plan_inputs


def test_every_field_with_its_limits_and_its_default(studio_home, capsys):
    assert commands.main(["fields", "--json"]) == 0
    found = {each["name"]: each for each in json.loads(capsys.readouterr().out.splitlines()[-1])["fields"]}
    assert list(found) == list(FIELDS)
    assert {name: each["help"] for name, each in found.items()} == {name: about.help for name, about in FIELDS.items()}
    rank = found["lora_rank"]
    assert (rank["kind"], rank["least"], rank["most"], rank["default"]) == ("whole", 1, 4096, 16)
    assert "qlora" in found["method"]["words"] and found["learning_rate"]["aliases"] == ["lr"]


def test_for_people_by_a_part_of_the_name(studio_home, capsys):
    assert commands.main(["fields", "LORA"]) == 0
    said = capsys.readouterr().out
    assert "lora_rank" in said and "use_rslora" in said and "epochs" not in said and "--set FIELD=VALUE" in said
    assert commands.main(["fields", "warmup_ratio"]) == 0  # what other trainers call it
    assert "warmup_fraction" in capsys.readouterr().out


def test_a_default_is_written_as_it_is_typed(studio_home, capsys):
    from slmstudio.cli.runs.plan import _typed

    for name in FIELDS.keys() - {"name", "model", "train_file"}:
        assert plan_inputs.overrides({name: _typed(default_of(name))}) == {name: default_of(name)}, name


def test_an_unknown_name_says_how_to_see_them_all(studio_home, capsys):
    assert commands.main(["fields", "loraa"]) == 2
    assert "No field has “loraa” in its name." in capsys.readouterr().err


@pytest.mark.parametrize("command", ["plan", "train", "continue", "launch", "estimate"])
def test_help_of_set_names_the_list(command, studio_home, capsys):
    assert commands.main([command, "--help"]) == 0
    assert "that `fields` lists" in " ".join(capsys.readouterr().out.replace("│", " ").split())
