"""Hostile datasets, archives, run folders, settings and adapters: nothing runs, nothing outside is read, nothing hangs.

With the model folders (`model/vetting`), templates (`model/foreign`) and GGUF files (`tests/process`), these are the
suite of everything that a person may be sent.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support import damaged_gguf, hostile_files, hostile_models, hostile_templates
from support.hostile_files import KINDS, NAMES
from support.once import made_once

import slmstudio

SECONDS, MEGABYTES = 10, 1_000
HARMLESS = {
    "dataset: deep nesting in a row", "dataset: numbers of a million digits", "dataset: formulas",
    "adapter: a base on another computer"}
"""Read as the rows or the adapter that they are; the bad row is a problem of its own."""
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on the address space")


def results() -> dict[str, dict[str, Any]]:
    """All of them in one process of its own; made once in a session."""
    def make(folder: Path) -> None:
        ended = subprocess.run(
            [sys.executable, "-P", hostile_files.__file__, str(folder / "files")], capture_output=True, check=False,
            encoding="utf-8", timeout=280, env={**os.environ, "PYTHONPATH": str(Path(slmstudio.__file__).parents[1])})
        assert ended.returncode == 0, ended.stderr
        found = [json.loads(line) for line in ended.stdout.splitlines()]
        (folder / "results.json").write_text(json.dumps({each["name"]: each for each in found}))

    return json.loads((made_once("hostile-files", make) / "results.json").read_text())


@pytest.mark.parametrize("name", NAMES)
def test_it_does_no_harm(name: str) -> None:
    found = results()[name]
    assert found["how"] in ("refused", "read"), found["said"]
    assert not found["ran"] and not found["started"], "it ran something"
    assert found["outside"] == [], "it opened files outside of its folder"
    assert found["seconds"] < SECONDS and found["megabytes"] < MEGABYTES
    if name.startswith(("dataset", "bundle", "adapter")):
        assert found["how"] == ("read" if name in HARMLESS else "refused"), found["said"]


@pytest.mark.parametrize(("name", "words"), [
    ("run: run.json leads out", "run.json is a link that leads out of it"),
    ("run: events lead out", "events.jsonl is a link that leads out of it"),
    ("run: the log leads out", "worker.log is a link that leads out of it"),
    ("run: half a run.json", "has no readable request.json"),
    ("run: values of other kinds", "Some fields are missing or wrong"),
    ("settings: half a file", "The settings couldn't be read"),
    ("bundle: zip that leads out", "leads out of the archive"),
    ("adapter: a pickle", "Python pickle")])
def test_what_is_said(name: str, words: str) -> None:
    assert words in results()[name]["said"]


def test_the_suite_is_as_large_as_it_should_be() -> None:
    models = len(hostile_models.READ) + len(hostile_models.VET)
    assert len(KINDS) == 5 and models + len(hostile_templates.TEMPLATES) + len(damaged_gguf.DAMAGES) + len(NAMES) >= 280
