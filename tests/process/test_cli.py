"""The terminal, run as a person runs it: its exit status, stdout and stderr; and what a newer program wrote."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
import typer
from support.report_run import ReportRun

from slmstudio import __version__
from slmstudio.cli import commands
from slmstudio.cli.progress import Follower
from slmstudio.core import files, formats, jobs
from slmstudio.core.hardware.machine import read_machine
from slmstudio.core.run import folder
from slmstudio.core.run.config import RunConfig


def test_plan_then_train_then_runs_then_report(slmstudio, cli, told, rows_file, tiny_model, tmp_path,
                                                   studio_home):
    run_json = tmp_path / "run.json"
    plan = told("plan", "--model", tiny_model, "--data", rows_file, "--out", run_json, "--set", "max_steps=2",
                "--set", "device=cpu", "--set", "eval_fraction=0.4")
    assert plan["config"]["max_steps"] == 2
    reasoned = {"method", "learning_rate", "max_length", "micro_batch_size", "precision", "eval_steps", "lora_rank"}
    assert reasoned <= plan["reasons"].keys()
    assert plan["rows_learned"] > 0 and (plan["rows_cut"], plan["steps"], plan["longer_length"]) == (0, 2, None)

    result = slmstudio("train", run_json, "--json").json
    assert result["outcome"] == "finished" and result["steps"] == 2
    assert result["train_loss_first"] > 0 and result["eval_loss_after"] > 0
    assert result["time_estimate"]["time_source"] == plan["time_source"] == "rough"
    again = told("plan", "--model", tiny_model, "--data", rows_file, "--out", tmp_path / "again.json", "--set",
                 "max_steps=2", "--set", "device=cpu", "--set", "eval_fraction=0.4")
    assert again["time_source"] == "measured"  # and so in a narrower range, however busy the machine is
    assert again["seconds_high"] / again["seconds_low"] < plan["seconds_high"] / plan["seconds_low"]
    assert Path(result["run_dir"]).parent == studio_home / "runs"

    came_to = result["evaluation"]  # without another command
    assert len(list(files.LineReader(Path(came_to["evaluation"]) / "answers-1.jsonl").read())) == 3
    assert came_to["headline"] in cli("runs", "show", result["run_dir"]).out
    assert told("runs", "show", result["run_dir"])["advice"]["headline"] == came_to["headline"]

    listed = told("runs")["runs"]
    assert [(run["state"], run["steps"]) for run in listed] == [("finished", 2)]

    cli("report", result["run_dir"])
    html = (Path(result["run_dir"]) / "report.html").read_text("utf-8")
    assert read_machine().cpu_name in html and "The run finished." in html and "It completed 2 of 2 steps." in html
    assert "don't say which machine" not in html and "adapter/adapter_model.safetensors" in html


def test_all_wrong_settings_at_once(told, rows_file, tiny_model, tmp_path):
    error = told("plan", "--model", tiny_model, "--data", rows_file, "--out", tmp_path / "run.json", "--set",
                 "lora_rank=many", "--set", "colour=red", status=2)["error"]
    assert {problem["field"] for problem in error["problems"]} == {"lora_rank", "colour"}
    assert not (tmp_path / "run.json").exists()


def test_training_with_missing_files_is_refused_before_a_run_exists(told, tmp_path, studio_home):
    run_json = tmp_path / "run.json"
    run_json.write_text(json.dumps({"name": "x", "model": "/nowhere", "train_file": "/nothing", "lora_rank": 0}))
    problems = told("train", run_json, status=2)["error"]["problems"]
    assert {problem["field"] for problem in problems} == {"model", "train_file", "lora_rank"}
    assert not (studio_home / "runs").exists()


def test_all_that_is_missing_is_told_at_once(told):
    def said(*words: str) -> str:
        return told(*words, status=2)["error"]["what"]

    assert said("plan") == "These are missing: '--model', '--data', '--out'."
    assert said("plan", "--data", "rows.jsonl") == "These are missing: '--model', '--out'."
    assert said("plan", "--data", "rows.jsonl", "--model", "m") == "'--out' is missing."
    assert said("parity") == "These are missing: 'run', 'gguf'."


def test_each_command_has_json():
    def without(one: Any, words: tuple[str, ...]) -> list[str]:
        below = getattr(one, "commands", {})
        mine = [] if below or any("--json" in param.opts for param in one.params) else [" ".join(words)]
        return mine + [each for name, inner in below.items() for each in without(inner, (*words, name))]

    assert without(typer.main.get_command(commands.app), ()) == []


def test_unknown_command(slmstudio):
    assert "There's no command “fly”." in slmstudio("fly", status=2).err


@pytest.mark.full
def test_paths_below_the_current_folder_work(slmstudio, rows_file, tiny_model, tmp_path, monkeypatch):
    """Workers start in folders of their own, so each path a person types must be made whole first."""
    monkeypatch.chdir(tmp_path)
    slmstudio("plan", "--model", os.path.relpath(tiny_model), "--data", rows_file.name, "--out", "run.json", "--set",
              "max_steps=1", "--set", "device=cpu", "--json", where=tmp_path)
    result = slmstudio("train", "run.json", "--out", "here", "--no-evaluate", "--json", where=tmp_path).json
    assert result["outcome"] == "finished"
    assert Path(result["run_dir"]).parent == tmp_path / "here"
    run = os.path.relpath(result["run_dir"], tmp_path)
    exported = slmstudio("export", run, "--type", "F16", "--json", where=tmp_path).json
    assert Path(exported["files"][0]["path"]).is_file()
    assert exported["files"][0]["parity"]["passed"]
    shown = slmstudio("export", run, "--type", "q8_0", "--type", "lora", "--out", "elsewhere", where=tmp_path)
    assert "passed" in shown.out
    assert sorted(path.suffix for path in (tmp_path / "elsewhere").iterdir()) == [".gguf", ".gguf", ".json"]
    assert "There's no run “nowhere”." in slmstudio("export", "nowhere", status=2, where=tmp_path).err


def test_a_loss_that_ran_away_has_a_word(cli, tmp_path, capsys):
    run = ReportRun(tmp_path / "runs")
    run.start()
    run.learn(1, 20)
    run.tell("eval", global_step=40, eval_loss=math.nan, seconds=7.5)
    files.write_atomically(run.folder / jobs.OUTCOME, files.dump_pretty({"protocol": 1, "state": "stopped"}))
    shown = cli("runs", "--folder", tmp_path / "runs").out
    assert "diverged" in shown and "nan" not in shown.lower()
    with Follower() as follower:
        for event in jobs.Job(run.folder).events():
            follower.on_event("train", event)
    assert "step 40: eval loss isn't a number" in capsys.readouterr().err.splitlines()


def test_a_held_temperature_is_told_when_its_share_changes_and_once_an_hour(capsys):
    def hold(minute: int, working: float) -> dict:
        return {"type": "guard_hold", "time": 60.0 * minute, "working": working, "message": f"{minute}: {working:.0%}"}

    with Follower() as follower:
        for minute in range(1, 721):
            follower.on_event("train", hold(minute, 0.7 + 0.04 * (minute % 2)))
        follower.on_event("train", hold(721, 0.6))
        follower.on_event("train", hold(722, 0.5))
    told = [line.partition(":")[0] for line in capsys.readouterr().err.splitlines()]
    assert told == [str(minute) for minute in (*range(1, 720, 60), 721, 722)]


def test_a_run_is_renamed_in_the_terminal(cli, told):
    from slmstudio.core.run import folder
    from slmstudio.core.run.config import RunConfig

    one, _ = (folder.create(RunConfig(name=name, model="m", train_file="t.jsonl")).folder for name in ("one", "two"))
    assert told("runs", "rename", one, "best  so far") == {"run_dir": str(one), "name": "best so far"}
    assert "Another run is called “Best so far”." in cli("runs", "rename", "two", "Best so far", status=2).err
    assert [run["name"] for run in told("runs")["runs"]] == ["two", "best so far"]


@pytest.mark.parametrize("command", ["report", "export", "evaluate", "energy", "guard", "chat", "serve", "queue remove",
                                     "runs rename x", "compare", "continue --out x.json"])
def test_a_mistyped_name_of_a_run_is_told_with_those_that_are_near(told, command):
    from slmstudio.core.run import folder
    from slmstudio.core.run.config import RunConfig

    folder.create(RunConfig(name="helpdesk", model="m", train_file="t.jsonl"))
    words = command.split()
    place = 2 if words[0] in ("runs", "queue") else 1
    error = told(*words[:place], "helpdsk", *words[place:], status=2)["error"]
    assert "helpdsk" in error["what"] and "Did you mean: helpdesk?" in error["why"] and error["remedy"].endswith("runs")


def test_version_and_help_are_where_other_programs_have_them(studio_home, capsys):
    assert commands.main(["--version"]) == 0 and capsys.readouterr().out == f"{__version__}\n"
    assert commands.main(["chat", "-h"]) == 0 and "--base" in capsys.readouterr().out


def test_a_folder_of_runs_that_is_not_there_is_not_an_empty_one(told):
    assert told("runs", "--folder", "nowhere", status=2)["error"]["what"] == "nowhere isn't a folder."


def test_the_quickstart_shows_both_answers_side_by_side(tmp_path, capsys):
    result = {"question": "My cylinder leaks. Who should I call?", "reference": "Please call 1906.",
              "answer_before": "I am sorry.", "answer_after": "Call 1906.", "reply": "Call 1906.",
              "eval_loss_before": 3.21, "eval_loss_after": math.nan, "chrf_before": 12.34, "chrf_after": 45.6,
              "run_dir": "first/run", "steps": 39, "gguf": "first/run/exports/x.gguf", "left_out": None,
              "parity": {"passed": True, "nmse": 2.5e-7, "top1": 1.0}, "seconds": {"total": 312.4}}
    commands._show_first_run(result)
    shown = capsys.readouterr().out
    lines = [[cell.strip() for cell in line.strip("│┃").replace("┃", "│").split("│")] for line in shown.splitlines()]
    assert ["", "Before training", "After training"] in lines
    assert ["Its answer", "I am sorry.", "Call 1906."] in lines
    assert ["Eval loss (lower is better)", "3.210", "diverged"] in lines
    assert ["The exported file in chat", "Call 1906."] in lines and ["Time", "5 min 12 s"] in lines
    assert "Question: My cylinder leaks. Who should I call?\nA good answer: Please call 1906." in shown
    assert "chat first/run/exports/x.gguf" in shown.splitlines()[-1]

    commands._show_first_run({**result, "gguf": None, "parity": None, "reply": None,
                              "left_out": "Export was left out."})
    shown = capsys.readouterr().out
    assert "Export was left out.\n\nNext: " in shown and "report first/run" in shown.splitlines()[-1]
    assert "in chat" not in shown


def content(run: Path) -> dict[str, bytes]:
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in run.rglob("*") if path.is_file()}


@pytest.fixture
def newer(studio_home: Path) -> Path:
    run = folder.create(RunConfig(name="newer", model="m", train_file="t.jsonl")).folder
    state = files.read_json(run / jobs.RUN)
    files.write_atomically(run / jobs.RUN, files.dump_pretty({**state, "format": formats.KINDS["run"].format + 1}))
    return run


def test_each_command_refuses_a_run_of_a_newer_program(cli, newer: Path, tmp_path: Path):
    gguf = tmp_path / "a.gguf"
    gguf.write_bytes(b"GGUF")
    before = content(newer)
    for command in (("train", newer), ("evaluate", newer), ("export", newer), ("parity", newer, gguf),
                    ("report", newer), ("chat", newer), ("code", newer, "--out", tmp_path / "a.py"),
                    ("continue", newer, "--out", tmp_path / "next.json"), ("queue", "add", newer)):
        done = cli(*command, "--json", status=2)
        error = done.json["error"]
        assert error["what"] == f"run.json of {newer.name} was written by a newer SLM Studio.", command
        assert error["why"] == "Its format is 2; this program reads up to 1."
        assert "Update SLM Studio" in done.err
        assert content(newer) == before, command


def test_the_list_of_runs_names_it_and_shows_the_others(cli, newer: Path):
    own = folder.create(RunConfig(name="own", model="m", train_file="t.jsonl")).folder
    done = cli("runs", "--json")
    listed = done.json
    assert [run["run_dir"] for run in listed["runs"]] == [str(own)]
    assert [run["run_dir"] for run in listed["unreadable"]] == [str(newer)]
    assert f"warning: {newer.name} can't be shown." in done.err and "newer SLM Studio" in done.err


def test_newer_settings_do_not_keep_the_terminal_from_working(slmstudio, studio_home: Path):
    files.write_atomically(studio_home / "settings.json", files.dump_pretty({"format": 99, "theme": "dark"}))
    assert slmstudio("runs", "--json").json["runs"] == []
    assert json.loads((studio_home / "settings.json").read_bytes())["format"] == 99
