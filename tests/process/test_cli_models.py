"""The list of models in the terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def slmstudio(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "slmstudio", *map(str, arguments)], cwd=ROOT, capture_output=True,
                          text=True, timeout=110, stdin=subprocess.DEVNULL, encoding="utf-8",
                          env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "140", "PYTHONIOENCODING": "utf-8"})


def test_the_list_is_filtered_and_says_what_fits(studio_home: Path):
    done = slmstudio("models", "list", "sarvam", "--language", "Hindi")
    assert done.returncode == 0, done.stderr
    assert "On disk: none" in done.stdout
    (row,) = [line for line in done.stdout.splitlines() if "Sarvam-1" in line]
    cells = [cell.strip() for cell in row.strip("│ ").split("│")]
    assert cells[:5] == ["Sarvam-1", "2.53 B", "11, with Hindi", "Sarvam non-commercial", "about 4.7 GB"]
    assert cells[5].startswith(("fits", "needs", "tight", "slow"))
    assert "models get NAME" in done.stdout


def test_without_a_word_it_lists_everything_and_json_is_the_last_line(studio_home: Path):
    done = slmstudio("models", "--json", "--licence", "research", "--measure-disk")
    assert done.returncode == 0, done.stderr
    state = json.loads(done.stdout.splitlines()[-1])
    assert [model["name"] for model in state["catalogue"]] == [
        "Qwen/Qwen2.5-3B", "Qwen/Qwen2.5-3B-Instruct", "sarvamai/sarvam-1", "LGAI-EXAONE/EXAONE-4.0-1.2B"]
    assert state["on_disk"] == state["unreadable"] == []
    assert state["advice"][-1].startswith("The disk for runs writes ")


def test_an_unknown_language_is_refused_with_the_nearest(studio_home: Path):
    done = slmstudio("models", "--language", "Hindy", "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["remedy"] == "Did you mean 'Hindi'?"
