"""Jobs are made in core alone, each request with one default for each of its fields."""

from __future__ import annotations

import os
import re
import secrets
import time
from pathlib import Path

import pytest

import slmstudio
from slmstudio.core import files, jobs, paths
from slmstudio.core.errors import UserError
from slmstudio.core.jobs import new
from slmstudio.core.lock import places
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
    monkeypatch.setattr(secrets, "token_hex", lambda size: "0000")
    assert len({new.export(run, ["F16"]).folder for _ in range(3)}) == 3


def test_a_run_of_a_newer_program_gets_none(run: Path):
    file = run / jobs.RUN
    file.write_text(re.sub(r'"format": \d+', '"format": 99', file.read_text()))
    with pytest.raises(UserError, match="newer SLM Studio"):
        new.export(run, ["F16"])
    assert not (run / "jobs").exists()


def test_old_short_jobs_are_removed_when_a_new_one_is_made(studio_home: Path, monkeypatch: pytest.MonkeyPatch):
    """Never one that is at work, a run, a folder of somebody else, or a link; and those of a run's own folder stay."""
    old = {name: new.make(paths.cache_dir() / "jobs", name).folder for name in ("ended", "crashed", "never", "alive",
                                                                                "young", "run", "linked")}
    inner = new.make(studio_home / "runs" / "one" / "jobs", "export").folder
    jobs.write_outcome(old["ended"], jobs.Outcome("finished"))
    files.write_atomically(old["crashed"] / jobs.PROCESS, '{"pid": 1, "create_time": 1.0}')
    jobs.write_process_file(old["alive"], os.getpid())
    (old["run"] / jobs.RUN).write_text("{}")
    (paths.cache_dir() / "jobs" / "letters").mkdir()
    target = studio_home / "elsewhere"
    old["linked"].rename(target)
    old["linked"].symlink_to(target)
    now = time.time()
    monkeypatch.setattr(new.time, "time", lambda: now + new.KEPT_SECONDS + 60)
    os.utime(old["young"] / jobs.REQUEST, (now + 3600, now + 3600))
    made = new.fit_check({}).folder
    kept = {old[name] for name in ("alive", "young", "run", "linked")} | {made, paths.cache_dir() / "jobs" / "letters"}
    assert set((paths.cache_dir() / "jobs").iterdir()) == kept and target.is_dir() and inner.is_dir()


def test_an_export_is_not_given_all_that_is_yours(studio_home, tmp_path):
    for out in (Path("/"), Path.home(), studio_home):
        with pytest.raises(UserError, match="can't be exported to"):
            new.export(tmp_path, ["F16"], out)
    assert new.export(tmp_path, ["F16"], tmp_path / "out").request()["out"] == str(tmp_path / "out")


def test_files_of_a_model_folder_have_a_folder_that_the_lock_lets_the_job_write(tmp_path):
    model = tmp_path / "models" / "tiny"
    model.mkdir(parents=True)
    job = new.export(model, ["F16"])
    written = [path for path, rights in places.rules("export", job.request(), job.folder, None)
               if rights == places.WRITE]
    assert model / "exports" in written and model not in written
