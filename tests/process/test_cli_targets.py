"""No command writes over what it reads, by whatever name; and a plan's test file is there."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from slmstudio.cli import commands

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


def test_a_split_spares_the_file_that_it_splits(here: Path, capsys) -> None:
    before = (here / "train.jsonl").read_bytes()
    assert commands.main(["data", "split", "train.jsonl", "--out", "."]) == 2
    assert "train.jsonl would be overwritten" in capsys.readouterr().err
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
def test_a_plan_without_its_test_file_is_refused(here: Path, capsys, tiny_model: Path, words: list[str]) -> None:
    plan = ["plan", "--model", str(tiny_model), "--data", "rows.jsonl", "--out", "run.json"]
    assert commands.main([*plan, *words]) == 2
    assert "absent.jsonl doesn't exist" in capsys.readouterr().err
    assert not (here / "run.json").exists()
