"""Runs of several small processes (`support/launch_probe.py`), started as a window or a terminal starts a run."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from slmstudio.core import files, jobs

PROBE = Path(__file__).parents[2] / "support" / "launch_probe.py"


@pytest.fixture
def shared_run(tmp_path, monkeypatch):
    """Makes a run folder of several processes, not started: `shared_run(todo={"1": "fail"}, processes=2)`."""
    made: list[jobs.Job] = []

    def make(todo: dict[str, str], processes: int = 2, **fields: object) -> jobs.Job:
        monkeypatch.setenv("SLMSTUDIO_WORKER", json.dumps([sys.executable, "-P", str(PROBE)]))
        monkeypatch.setenv("LAUNCH_PROBE", json.dumps(todo))
        monkeypatch.setenv("LAUNCH_PROBE_BESIDE", str(tmp_path))
        folder = tmp_path / f"run-{len(made)}"
        folder.mkdir()
        run = {"format": 1, "kind": "train", "name": "probe", "model": str(tmp_path / "model"), "device": "cpu",
               "train_file": str(tmp_path / "rows.jsonl"), "processes": processes, "beside": str(tmp_path),
               **fields}
        files.write_atomically(folder / jobs.RUN, files.dump_pretty(run))
        made.append(jobs.Job(folder))
        return made[-1]

    yield make
    for job in made:
        job.kill()
