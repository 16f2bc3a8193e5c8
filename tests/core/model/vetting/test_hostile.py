"""Folders that mean ill, and broken ones: each is refused in its own words, runs no code and leads nowhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support import hostile_models, tiers
from support.hostile_models import BOMBS, READ, VET
from support.once import made_once
from support.tiers import first_fast

import slmstudio

SCRIPT = Path(hostile_models.__file__)
SECONDS, MEGABYTES = 5, 500
VETTED = sorted((name for name in VET if name not in BOMBS), key=lambda name: list(VET).index(name) % 3)
FAST = len(VETTED) // 2
"""So many of them are vetted in the fast tier, of each kind some: every one has its tokenizer tried in a process."""


def looked_at(base: Path, how: str, *names: str) -> list[dict[str, Any]]:
    """What a process of its own says of such folders: it must not be this one that they bring down."""
    package = str(Path(slmstudio.__file__).parents[1])
    ended = subprocess.run([sys.executable, "-P", str(SCRIPT), str(base), how, *names], capture_output=True,
                           encoding="utf-8", timeout=280, check=False,
                           env={**os.environ, "PYTHONPATH": package, "SLMSTUDIO_HOME": str(base / "home"),
                                "PYTHONUTF8": "1"})
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]


def results(how: str, cases: list[str]) -> dict[str, dict[str, Any]]:
    """All of them in one process, which is quicker; made once in a session."""
    def make(folder: Path) -> None:
        found = looked_at(folder / "models", how, *cases)
        (folder / "results.json").write_text(json.dumps({each["name"]: each for each in found}))

    return json.loads((made_once(f"hostile-{how}", make) / "results.json").read_text())


def is_refused(found: dict[str, Any], words: str) -> None:
    assert words in found["said"]
    assert not found["ran"], "it ran code"
    assert found["outside"] == [], "it opened files outside of the folder"


@pytest.mark.parametrize("name", READ)
def test_reading_a_model_refuses(name: str) -> None:
    is_refused(results("read", list(READ))[name], READ[name][1])


@pytest.mark.parametrize("name", first_fast(VETTED, FAST))
def test_vetting_refuses(name: str) -> None:
    is_refused(results("vet", VETTED if tiers.full else VETTED[:FAST])[name], VET[name][1])


@pytest.mark.full
@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on the address space")
@pytest.mark.parametrize("name", [*VET, *READ])
def test_each_is_vetted_within_five_seconds_and_500_megabytes(tmp_path: Path, name: str) -> None:
    """Of the processor's time, so that a busy machine says nothing else."""
    (found,) = looked_at(tmp_path, "vet", name)
    is_refused(found, {**READ, **VET}[name][1])
    assert found["seconds"] < SECONDS and found["megabytes"] < MEGABYTES


def test_no_two_folders_are_refused_in_the_same_words() -> None:
    words = [words for _, words in (*READ.values(), *VET.values())]
    assert len(set(words)) == len(words) >= 90
