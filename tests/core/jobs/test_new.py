"""Jobs are made in core alone, each request with one default for each of its fields."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import slmstudio
from slmstudio.core import jobs, paths
from slmstudio.core.errors import UserError
from slmstudio.core.jobs import new
from slmstudio.core.run import folder
from slmstudio.core.run.config import RunConfig

PACKAGE = Path(slmstudio.__file__).parent


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return folder.create(RunConfig(name="x", model="m", train_file="t"), tmp_path / "runs").folder


def test_no_window_command_or_worker_makes_one():
    others = [path for room in ("gui", "cli", "worker") for path in (PACKAGE / room).rglob("*.py")]
    made = [str(path) for path in others if re.search(r"\bJob\.(create|at)\(", path.read_text("utf-8"))]
    assert len(others) > 200 and made == []


def test_an_export_of_a_run_lies_in_it_and_one_of_a_model_in_the_cache(run: Path, tmp_path: Path):
    job = new.export(run, ["F16"])
    assert job.folder.parent == run / "jobs" and job.folder.name.startswith("export-")
    assert job.request() == {"protocol": jobs.PROTOCOL, "kind": "export", "run": str(run), "types": ["F16"],
                             "out": None, "importance": new.IMPORTANCE}
    assert new.parity(tmp_path, tmp_path / "x.gguf").folder.parent == paths.cache_dir() / "jobs"


def test_two_of_the_same_second_have_folders_of_their_own(run: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(new.time, "strftime", lambda form: "20261127-101500")
    monkeypatch.setattr(new.secrets, "token_hex", lambda size: "0000")
    assert len({new.export(run, ["F16"]).folder for _ in range(3)}) == 3


def test_a_run_of_a_newer_program_gets_none(run: Path):
    file = run / jobs.RUN
    file.write_text(re.sub(r'"format": \d+', '"format": 99', file.read_text()))
    with pytest.raises(UserError, match="newer SLM Studio"):
        new.export(run, ["F16"])
    assert not (run / "jobs").exists()
