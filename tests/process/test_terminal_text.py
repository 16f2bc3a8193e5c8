"""What the terminal prints of others' text, and what it makes of events that make no sense."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from slmstudio.cli import output, progress
from slmstudio.core import i18n
from slmstudio.core.errors import Problem, UserError
from slmstudio.core.run import folder
from slmstudio.core.run.config import RunConfig

ROOT = Path(__file__).resolve().parent.parent.parent
HOSTILE = "\x1b]0;title\x07\x1b[31m\x9b31m\x08\r\x7f\u202egpj.exe\u2066"
SCRIPTS = "क्\u200dष श्\u200cर \u200f👩\u200d👩"
MARKUP = "[red]not[/red] [/nothing] :smile:"
TEXT = f"{HOSTILE} {SCRIPTS} {MARKUP}\n\tand on"


def slmstudio(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-P", "-m", "slmstudio", *map(str, arguments)], capture_output=True,
                          text=True, timeout=60, env={**os.environ, "PYTHONPATH": str(ROOT)})


def assert_harmless(printed: str) -> None:
    assert not {c for c in printed if c < " " or "\x7f" <= c <= "\x9f" or c in "\u202e\u2066"} - {"\n", "\t"}


def test_foreign_text_cannot_command_the_terminal(capsys):
    output.say(TEXT)
    output.print_error(UserError(TEXT, TEXT, TEXT, [Problem(TEXT)]), as_json=False)
    output.print_table(TEXT, [(TEXT, TEXT)], (TEXT, TEXT))
    output.print_table(TEXT, [])
    printed = capsys.readouterr()
    for each in (printed.out, printed.err):
        assert_harmless(each)
        assert SCRIPTS in each and MARKUP in each and "\n\tand on" in each
    assert printed.out.startswith("[U+001B]]0;title[U+0007]")


def test_json_holds_it_all(capsys):
    output.print_json({"text": TEXT, "half": "\ud83d"})
    line = capsys.readouterr().out
    assert_harmless(line)
    assert json.loads(line) == {"text": TEXT, "half": "\ud83d"} and SCRIPTS in line


def test_nor_the_progress_bar(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal
    monkeypatch.setenv("COLUMNS", "400")
    with progress.Follower() as follower:
        follower.on_event("train", {"type": "phase", "phase": MARKUP, "detail": TEXT})
        follower.on_event("train", {"type": "warning", "message": TEXT})
        follower.on_event("train", {"type": "sample", "global_step": 1, "samples": [{"prompt": TEXT, "answer": TEXT}]})
    printed = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", capsys.readouterr().err)  # without the bar's own colours
    assert_harmless(printed)
    assert "[U+001B]]0;title" in printed and SCRIPTS in printed and printed.count(MARKUP) == 3


def test_an_answer_is_printed_harmlessly(play, studio_home, tmp_path):
    play("")
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    done = slmstudio("chat", tmp_path / "model.gguf", "--prompt", TEXT)
    assert done.returncode == 0, done.stderr
    assert_harmless(done.stdout)
    assert SCRIPTS in done.stdout and "[U+001B][31m" in done.stdout and "\n\tand on" in done.stdout


def test_what_a_person_mistypes_too(studio_home):
    done = slmstudio("runs", HOSTILE)
    assert done.returncode == 2
    assert_harmless(done.stderr)


def test_all_of_it_goes_through_one_function():
    printing = {"output.py": 2}  # say and print_json
    for path in (ROOT / "slmstudio" / "cli").rglob("*.py"):
        calls = [node for node in ast.walk(ast.parse(path.read_text("utf-8")))
                 if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"]
        assert len(calls) == printing.get(path.name, 0), path.name


NAN = '{"type":"eval","global_step":0,"eval_loss":null,"non_finite":{"eval_loss":"nan"}}'
INFINITE = '{"type":"step","global_step":10,"train_loss":null,"non_finite":{"train_loss":"inf"}}'
NESTED = "[" * 100_000


def test_training_is_followed_whatever_its_events_say(play, studio_home):
    run = folder.create(RunConfig(name="run", model="m", train_file="t.jsonl")).folder
    play(f'start plan:40 event:{NAN} garbage event:{INFINITE} event:{{"type":"step"}} event:{NESTED} garbage steps:20 '
         'finish')
    done = slmstudio("train", run, "--json")
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert json.loads(done.stdout)["outcome"] == "finished"
    assert "step 0: eval loss isn't a number\n" in done.stderr and "loss is infinite\n" in done.stderr
    assert "step 20/40 loss 1." in done.stderr
    assert done.stderr.count("couldn't be read") == 1


KINDS = ("phase", "progress", "plan", "step", "eval", "warning", "sample", "overfitting", "changed", "suspended")
FIELDS = ("phase", "detail", "done", "total", "total_steps", "global_step", "train_loss", "eval_loss", "non_finite",
          "tokens_per_second", "message", "code", "samples", "learning_rate", "seconds", "time")


@pytest.mark.parametrize("terminal", ["", "1"])
@pytest.mark.parametrize("value", [None, "x", [], [1], {}, True, -1, 10**400, float("nan"), float("inf")],
                         ids=lambda value: str(value)[:5])
def test_no_event_ends_the_follower(value, terminal, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", terminal)
    with progress.Follower() as follower:
        for kind in KINDS:
            follower.on_event("train", {"type": kind})
            follower.on_event("train", {"type": kind, **dict.fromkeys(FIELDS, value)})
            for field in FIELDS:
                follower.on_event("train", {"type": kind, "global_step": 1, field: value})
        follower.on_event("train", {"type": value})
        follower._progress.refresh()
    assert capsys.readouterr().err.count("couldn't be read") == 1


def test_json_for_programs_says_sentences_once(capsys):
    error = UserError(i18n.tr("You set this."), problems=[Problem(i18n.tr("It is missing."))]).to_dict()
    assert i18n.KEY in error and i18n.KEY in error["problems"][0]
    output.print_json({"error": error})
    assert i18n.KEY not in capsys.readouterr().out
