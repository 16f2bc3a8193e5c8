"""A run of a newer SLM Studio, in the terminal: every command says so in a sentence and changes nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from slmstudio.core import files, formats, jobs
from slmstudio.core.run import folder
from slmstudio.core.run.config import RunConfig

ROOT = Path(__file__).resolve().parent.parent.parent


def slmstudio(*arguments: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, "-m", "slmstudio", *map(str, arguments)], cwd=ROOT, capture_output=True,
                          text=True, timeout=110, stdin=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert "Traceback" not in done.stderr, done.stderr
    return done


def content(run: Path) -> dict[str, bytes]:
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in run.rglob("*") if path.is_file()}


@pytest.fixture
def newer(studio_home: Path) -> Path:
    run = folder.create(RunConfig(name="newer", model="m", train_file="t.jsonl")).folder
    state = files.read_json(run / jobs.RUN)
    files.write_atomically(run / jobs.RUN, files.dump_pretty({**state, "format": formats.KINDS["run"].format + 1}))
    return run


@pytest.mark.timeout(600)
def test_each_command_refuses_it(newer: Path, tmp_path: Path):
    gguf = tmp_path / "a.gguf"
    gguf.write_bytes(b"GGUF")
    before = content(newer)
    for command in (("train", newer), ("evaluate", newer), ("export", newer), ("parity", newer, gguf),
                    ("report", newer), ("chat", newer), ("code", newer, "--out", tmp_path / "a.py"),
                    ("continue", newer, "--out", tmp_path / "next.json"), ("queue", "add", newer)):
        done = slmstudio(*command, "--json")
        assert done.returncode == 2, (command, done.stdout, done.stderr)
        error = json.loads(done.stdout.splitlines()[-1])["error"]
        assert error["what"] == f"run.json of {newer.name} was written by a newer SLM Studio.", command
        assert error["why"] == "Its format is 2; this program reads up to 1."
        assert "Update SLM Studio" in done.stderr
        assert content(newer) == before, command


@pytest.mark.timeout(300)
def test_the_list_of_runs_names_it_and_shows_the_others(newer: Path):
    own = folder.create(RunConfig(name="own", model="m", train_file="t.jsonl")).folder
    done = slmstudio("runs", "--json")
    assert done.returncode == 0, done.stderr
    listed = json.loads(done.stdout.splitlines()[-1])
    assert [run["run_dir"] for run in listed["runs"]] == [str(own)]
    assert [run["run_dir"] for run in listed["unreadable"]] == [str(newer)]
    assert f"warning: {newer.name} can't be shown." in done.stderr and "newer SLM Studio" in done.stderr


def test_newer_settings_do_not_keep_the_terminal_from_working(studio_home: Path):
    files.write_atomically(studio_home / "settings.json", files.dump_pretty({"format": 99, "theme": "dark"}))
    done = slmstudio("runs", "--json")
    assert done.returncode == 0 and json.loads(done.stdout.splitlines()[-1])["runs"] == []
    assert json.loads((studio_home / "settings.json").read_bytes())["format"] == 99
