"""What a plan can set, what it takes by the estimate and by the fit check, and what it spares; and what an evaluation
proposes next."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import typer
from support import evaluated_runs

from slmstudio.cli import commands, evaluate
from slmstudio.cli.estimate import GB, card_memory
from slmstudio.cli.runs import plan as plan_command
from slmstudio.core import files
from slmstudio.core.errors import UserError
from slmstudio.core.evaluation.advice import proposals
from slmstudio.core.evaluation.advice.proposals import Proposal
from slmstudio.core.hardware.machine import read_machine
from slmstudio.core.model import facts
from slmstudio.core.run import config_file, measured
from slmstudio.core.run.config import FIELDS, default_of
from slmstudio.core.run.memory import outlook
from slmstudio.core.run.planning import plan_inputs


def test_every_field_with_its_limits_and_its_default(studio_home, capsys):
    assert commands.main(["fields", "--json"]) == 0
    found = {each["name"]: each for each in json.loads(capsys.readouterr().out.splitlines()[-1])["fields"]}
    assert list(found) == list(FIELDS)
    assert {name: each["help"] for name, each in found.items()} == {name: about.help for name, about in FIELDS.items()}
    rank = found["lora_rank"]
    assert (rank["kind"], rank["least"], rank["most"], rank["default"]) == ("whole", 1, 4096, 16)
    assert "qlora" in found["method"]["words"] and found["learning_rate"]["aliases"] == ["lr"]


def test_for_people_by_a_part_of_the_name(cli, capsys):
    said = cli("fields", "LORA").out
    assert "lora_rank" in said and "use_rslora" in said and "epochs" not in said and "--set FIELD=VALUE" in said
    assert commands.main(["fields", "warmup_ratio"]) == 0  # what other trainers call it
    assert "warmup_fraction" in capsys.readouterr().out


def test_a_default_is_written_as_it_is_typed(studio_home):
    from slmstudio.cli.runs.plan import _typed

    for name in FIELDS.keys() - {"name", "model", "train_file"}:
        assert plan_inputs.overrides({name: _typed(default_of(name))}) == {name: default_of(name)}, name


def test_an_unknown_name_says_how_to_see_them_all(cli):
    assert "No field has “loraa” in its name." in cli("fields", "loraa", status=2).err


@pytest.mark.parametrize("command", ["plan", "train", "continue", "launch", "estimate"])
def test_help_of_set_names_the_list(cli, command):
    assert "that `fields` lists" in " ".join(cli(command, "--help").out.replace("│", " ").split())


@pytest.fixture
def estimate(told: Any, tiny_model: Path) -> Any:
    return lambda *words, status=0: told("estimate", "--model", tiny_model, *words, status=status)


def test_parts_range_and_verdict(estimate: Any) -> None:
    found = estimate("--method", "qlora", "--max-length", "256", "--micro-batch", "4", "--gpu", "12GB")
    assert list(found["parts"]) == ["weights", "adapter", "gradients", "optimizer", "activations", "logits",
                                    "fragmentation", "overhead"]
    assert sum(found["parts"].values()) == found["likely"]
    assert found["low"] < found["likely"] < found["high"] < found["free"] < 12 * GB
    assert (found["fits"], found["verdict"], found["to_fit"]) == (True, "fits", {})
    assert [found[name] for name in ("method", "max_length", "micro_batch_size")] == ["qlora", 256, 4]
    assert [card["card"] for card in found["cards"]] == ["8 GB", "12 GB", "16 GB", "24 GB", "48 GB", "2 × 24 GB"]


def test_levers_and_what_makes_it_fit(estimate: Any) -> None:
    asked = ("--max-length", "512", "--micro-batch", "4096", "--set", "gradient_accumulation_steps=1", "--gpu", "8")
    found = estimate(*asked)
    assert (found["fits"], found["verdict"]) == (False, "no")
    saved = [lever["saves"] for lever in found["levers"]]
    assert saved == sorted(saved, reverse=True) and saved[-1] > 0
    again = estimate(*asked, *(f"--set={field}={value}" for field, value in found["to_fit"].items()))
    assert again["fits"] is True and again["micro_batch_size"] < 4096


def test_this_machine_without_a_card(estimate: Any) -> None:
    found = estimate("--set", "device=cpu")
    assert found["device"] == "cpu" and found["free"] > 0


def test_for_people(cli, tiny_model: Path) -> None:
    said = cli("estimate", "--model", tiny_model, "--gpu", "RTX 4090").out
    assert "It fits. 23.4 GB is free on a card with 24 GB." in said
    assert "activations" in said and "2 × 24 GB" in said


def test_what_cannot_be_is_told_at_once(estimate: Any) -> None:
    found = estimate("--max-length", "3", "--set", "micro_batch_size=0", status=2)
    assert {problem["field"] for problem in found["error"]["problems"]} == {"max_length", "micro_batch_size"}
    assert "GTX 9999" in estimate("--gpu", "GTX 9999", status=2)["error"]["what"]


@pytest.mark.parametrize(("name", "gigabytes"), [
    ("12GB", 12), ("24 gb", 24), ("8", 8), ("10.5GiB", 10.5), ("NVIDIA GeForce RTX 4090", 24), ("rtx4070 ti", 12)])
def test_a_card_by_its_size_or_its_name(name: str, gigabytes: float) -> None:
    assert card_memory(name) == gigabytes * GB


@pytest.mark.parametrize("name", ["", "0", "-1", "RTX", "12 TB"])
def test_no_card(name: str) -> None:
    with pytest.raises(UserError):
        card_memory(name)


@pytest.fixture
def planned(told, tmp_path, tiny_model, rows_file) -> tuple[Path, dict]:
    """A run configuration, and what plan said of it."""
    out = tmp_path / "run.json"
    return out, told("plan", "--model", tiny_model, "--data", rows_file, "--out", out)


@pytest.mark.full
def test_a_plan_is_measured_and_then_knows_its_time(told, planned, tiny_model, rows_file):
    out, plan = planned
    assert plan["outlook"]["fits"] == "fits" and plan["outlook"]["time_source"] == "rough"
    before = out.read_bytes()
    result = told("fit-check", out)
    assert set(result) >= {"estimate", "measured_peak", "seconds_per_step", "tokens_per_second", "fits", "free",
                           "device", "ran_out"}
    assert set(result["estimate"]) == {"low", "likely", "high"}
    assert result["fits"] and not result["ran_out"] and result["seconds_per_step"] > 0
    assert out.read_bytes() == before
    again = told("plan", "--model", tiny_model, "--data", rows_file, "--out", out)["outlook"]
    assert again["measured_peak"] == result["measured_peak"] and again["time_source"] == "measured"
    assert again["low"] < result["measured_peak"] < again["high"]


def test_the_choices_and_what_they_take(told, cli, tmp_path, planned, tiny_model, rows_file):
    out, plan = planned
    offered = {each["choice"]: each for each in plan["choices"]}
    assert plan["choice"] == "normal" and plan["recommended"] in offered and {"normal", "thorough"} <= set(offered)
    assert all(0 < each["seconds_low"] < each["seconds_high"] for each in offered.values())
    said = cli("plan", "--model", tiny_model, "--data", rows_file, "--out", out, "--choice", "thorough").out
    assert "--choice thorough" in said and "Recommended:" in said
    assert config_file.load(out).epochs == offered["thorough"]["overrides"]["epochs"]
    assert "normal, thorough" in cli("plan", "--model", tiny_model, "--data", rows_file, "--out", out, "--choice", "x",
                                     status=2).err


def test_a_plan_says_how_long_it_takes_and_what_is_learned(planned):
    _, plan = planned
    assert 0 < plan["seconds_low"] < plan["seconds_high"] and plan["time_source"] == "rough"
    assert plan["rows_learned"] > 0 and plan["rows_cut"] == 0
    assert plan["outlook"].items() >= {name: plan[name] for name in ("seconds_low", "seconds_high")}.items()


def test_what_cannot_be_tried_is_told_in_a_sentence(cli, tmp_path, planned):
    out, _ = planned
    state = {**(files.read_json(out) or {}), "train_file": str(tmp_path / "gone.jsonl")}
    out.write_text(json.dumps(state))
    assert "gone.jsonl doesn't exist" in cli("fit-check", out, "--json", status=2).out
    assert commands.main(["fit-check", str(tmp_path / "no.json")]) == 2


def test_the_line_of_a_plan(planned, tiny_model):
    out, _ = planned
    config, about, machine = config_file.load(out), facts.read_model(tiny_model), read_machine()
    plain = plan_command.outlook_text(outlook.look(about, config, machine, 8, 800))
    assert plain.startswith("Needs ") and " (estimated). " in plain and " is free. It takes " in plain
    measured.record(outlook.measure(about, config, machine, "run", 100, 2**30, seconds_per_step=1000.0))
    line = plan_command.outlook_text(outlook.look(about, config, machine, 8, 800))
    assert line.startswith("Needs 1 GB (measured on this machine).") and "It takes about " in line
    measured.record(outlook.measure(about, config, machine, "run", 100, 2**40, ran_out=True))
    assert plan_command.outlook_text(outlook.look(about, config, machine, 8, 800)).endswith("memory ran out at 1 TB.")


COMMANDS = {
    "check": ("data", "check", "rows.jsonl", "--problems", "OUT"),
    "clean": ("data", "clean", "rows.jsonl", "--fix", "duplicate_rows", "--out", "OUT"),
    "convert": ("data", "convert", "rows.jsonl", "--out", "OUT"),
    "mix": ("data", "mix", "other.jsonl", "rows.jsonl=2", "--out", "OUT"),
    "plan": ("plan", "--model", "MODEL", "--data", "rows.jsonl", "--out", "OUT"),
    "plan, test": ("plan", "--model", "MODEL", "--data", "other.jsonl", "--test", "rows.jsonl", "--out", "OUT"),
    "plan, set": ("plan", "--model", "MODEL", "--data", "other.jsonl", "--set", "eval_file=rows.jsonl", "--out", "OUT"),
    "check, folder": ("data", "check", ".", "--problems", "OUT")}


@pytest.fixture
def here(studio_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with two files of rows and two other names for the first."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    rows = "".join(json.dumps({"instruction": f"Question {n}", "output": f"Answer {n}"}) + "\n" for n in range(20))
    for name in ("rows.jsonl", "other.jsonl", "train.jsonl"):
        (folder / name).write_text(rows)
    if os.name != "nt":
        (folder / "link.jsonl").symlink_to("rows.jsonl")
    (folder / "hard.jsonl").hardlink_to(folder / "rows.jsonl")
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_read_stays(here: Path, capsys, tiny_model: Path, command: str) -> None:
    before = {path: path.read_bytes() for path in here.iterdir()}
    for out in ("rows.jsonl", "./rows.jsonl", "hard.jsonl", *(["link.jsonl"] if os.name != "nt" else [])):
        words = [{"OUT": out, "MODEL": str(tiny_model)}.get(word, word) for word in COMMANDS[command]]
        assert commands.main(words) == 2, out
        assert "would be overwritten" in capsys.readouterr().err
        assert {path: path.read_bytes() for path in here.iterdir()} == before


def test_a_split_spares_the_file_that_it_splits(cli, here: Path) -> None:
    before = (here / "train.jsonl").read_bytes()
    assert "train.jsonl would be overwritten" in cli("data", "split", "train.jsonl", "--out", ".", status=2).err
    assert (here / "train.jsonl").read_bytes() == before and not (here / "eval.jsonl").exists()


def test_a_plan_spares_the_models_folder(here: Path, capsys, tiny_model: Path) -> None:
    config = shutil.copytree(tiny_model, here.parent / "model") / "config.json"
    before = config.read_bytes()
    words = ["plan", "--model", str(config.parent), "--data", "rows.jsonl", "--out", str(config)]
    assert commands.main(words) == 2 and "would be overwritten" in capsys.readouterr().err
    assert config.read_bytes() == before


def test_an_earlier_result_is_replaced(here: Path, tiny_model: Path) -> None:
    for _ in range(2):
        assert commands.main(["data", "convert", "rows.jsonl", "--out", "new.jsonl"]) == 0
        assert commands.main(["plan", "--model", str(tiny_model), "--data", "rows.jsonl", "--out", "run.json"]) == 0


@pytest.mark.parametrize("words", [["--test", "absent.jsonl"], ["--set", "eval_file=absent.jsonl"]])
def test_a_plan_without_its_test_file_is_refused(cli, here: Path, tiny_model: Path, words: list[str]) -> None:
    plan = ["plan", "--model", str(tiny_model), "--data", "rows.jsonl", "--out", "run.json"]
    assert "absent.jsonl doesn't exist" in cli(*plan, *words, status=2).err
    assert not (here / "run.json").exists()


@pytest.mark.parametrize(("action", "changes", "words"), [
    (proposals.TRAIN, {"epochs": 2.0}, "continue RUN --epochs 2.0 --out next.json"),
    (proposals.AGAIN, {"learning_rate": 7e-5}, "train RUN/run.json --set learning_rate=7e-05"),
    (proposals.AGAIN, {"epochs": 1.5}, "train RUN/run.json --set max_steps=None --set epochs=1.5"),
    (proposals.RESUME, {}, "train RUN"), (proposals.EVALUATE, {"max_new_tokens": 256},
                                          "evaluate RUN --max-new-tokens 256"),
    (proposals.EVALUATE, {"limit": 730}, "evaluate RUN --limit 730"),
    (proposals.EVALUATE, {"limit": 730, "test": "/a.jsonl"}, "evaluate RUN --limit 730 --test /a.jsonl"),
    (proposals.OTHER_TEST, {}, "evaluate RUN --test FILE"), (proposals.EXPORT, {}, "export RUN"),
    (proposals.CHAT, {}, "chat RUN"), (proposals.ROWS, {}, "")])
def test_a_proposal_has_a_command_that_the_program_understands(tmp_path, studio_home, tiny_model, action, changes,
                                                               words):
    run = evaluated_runs.ended_run("forms", tiny_model)
    given = evaluate.prepared(Proposal(action, "Do it", "Because.", changes), run)
    assert given.endswith(words.replace("RUN", str(run)))
    if words:
        name, *arguments = shlex.split(given)[-len(words.split()):]
        group = typer.main.get_command(commands.app)
        with group.make_context("slmstudio", [name, *arguments], resilient_parsing=True) as context:
            group.get_command(context, name).make_context(name, arguments, parent=context)
