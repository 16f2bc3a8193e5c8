"""What the terminal prints of others' text and of events that make no sense, and its words in another language."""

from __future__ import annotations

import ast
import json
import re
from functools import partial
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


def test_an_answer_is_printed_harmlessly(play, slmstudio, tmp_path):
    play("")
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    said = slmstudio("chat", tmp_path / "model.gguf", "--prompt", TEXT).out
    assert_harmless(said)
    assert SCRIPTS in said and "[U+001B][31m" in said and "\n\tand on" in said


def test_what_a_person_mistypes_too(slmstudio):
    assert_harmless(slmstudio("runs", HOSTILE, status=2).err)


def test_all_of_it_goes_through_one_function():
    printing = {"output.py": 2}  # say and print_json
    for path in (ROOT / "slmstudio" / "cli").rglob("*.py"):
        calls = [node for node in ast.walk(ast.parse(path.read_text("utf-8")))
                 if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"]
        assert len(calls) == printing.get(path.name, 0), path.name


NAN = '{"type":"eval","global_step":0,"eval_loss":null,"non_finite":{"eval_loss":"nan"}}'
INFINITE = '{"type":"step","global_step":10,"train_loss":null,"non_finite":{"train_loss":"inf"}}'
NESTED = "[" * 100_000


def test_training_is_followed_whatever_its_events_say(play, slmstudio):
    run = folder.create(RunConfig(name="run", model="m", train_file="t.jsonl")).folder
    play(f'start plan:40 event:{NAN} garbage event:{INFINITE} event:{{"type":"step"}} event:{NESTED} garbage steps:20 '
         'finish')
    done = slmstudio("train", run, "--json")
    assert done.json["outcome"] == "finished"
    assert "step 0: eval loss isn't a number\n" in done.err and "loss is infinite\n" in done.err
    assert "step 20/40 loss 1." in done.err
    assert done.err.count("couldn't be read") == 1


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


DEVANAGARI = re.compile(r"[\u0900-\u097f]{2,}")
ENGLISH_OF_TYPER = ("Usage", "Options", "Arguments", "Commands", "Show this", "[required]", "[default", "Missing")


@pytest.fixture
def hindi(slmstudio, tmp_path: Path):
    return partial(slmstudio, where=tmp_path, SLMSTUDIO_LANGUAGE="hi", COLUMNS="100")


def test_help_speaks_hindi(hindi) -> None:
    for words in (("--help",), ("plan", "--help"), ("models", "get", "--help")):
        said = hindi(*words).out
        assert "इस्तेमाल: " in said and " विकल्प " in said and "यह मदद दिखाएँ" in said
        assert [each for each in ENGLISH_OF_TYPER if each in said] == []
        # Every explanation, whatever its command or option is called.
        rows = [line for line in said.splitlines() if re.match(r"│ +(\* +)?[a-z-]{3,} .*[A-Za-z]{3}", line)]
        assert rows and [line for line in rows if not DEVANAGARI.search(line)] == []


def test_errors_speak_hindi_and_json_keeps_its_keys(hindi) -> None:
    assert "गड़बड़ी: “plam” नाम की कोई कमांड नहीं है। क्या आपका मतलब यह था: plan" in hindi("plam", status=2).err
    for words in (("plan", "--json"), ("plan", "--modle", "x", "--json"), ("chat", "x.gguf", "--seed", "y", "--json")):
        done = hindi(*words, status=2)
        assert "गड़बड़ी: " in done.err
        error = done.json["error"]
        assert DEVANAGARI.search(error["what"]) and {"what", "why", "remedy", "problems"} <= error.keys()
    for language in ("hi", "en"):
        assert hindi("runs", "--json", SLMSTUDIO_LANGUAGE=language).json == {"runs": [], "unreadable": []}


def test_a_language_that_is_not_there_is_english(slmstudio) -> None:
    assert "Usage: " in slmstudio("queue", "--help", SLMSTUDIO_LANGUAGE="xx").out
