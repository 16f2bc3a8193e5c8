"""What the program keeps is its owner's alone."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from slmstudio.cli import commands
from slmstudio.core import files, home_folder
from slmstudio.core.jobs import new

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(autouse=True)
def usual_umask():
    before = os.umask(0o022)
    yield
    os.umask(before)


def test_a_new_home_is_its_owners_alone(studio_home, capsys) -> None:
    assert commands.main(["runs"]) == 0
    assert mode(studio_home) == 0o700


def test_one_from_before_is_closed_once_and_left_alone_afterwards(studio_home, capsys) -> None:
    (studio_home / "runs").mkdir(parents=True)
    assert mode(studio_home) == 0o755
    commands.main(["runs"])
    assert mode(studio_home) == 0o700 and mode(studio_home / home_folder.PRIVATE) == 0o600
    studio_home.chmod(0o750)
    commands.main(["runs"])
    assert mode(studio_home) == 0o750, "somebody wanted that"


@pytest.mark.parametrize("kind", ["for everybody", "of others"])
def test_a_folder_that_is_not_ours_alone_is_not_closed(tmp_path, kind) -> None:
    home = tmp_path / "shared"
    home.mkdir()
    (home / ("runs" if kind == "for everybody" else "letters")).mkdir()
    before = 0o1777 if kind == "for everybody" else 0o755
    home.chmod(before)
    home_folder.keep_private(home)
    assert mode(home) == before


def test_runs_and_jobs_are_private_wherever_they_lie(tmp_path) -> None:
    job = new.make(tmp_path / "elsewhere" / "jobs", "export", run="x", types=[])
    assert mode(job.folder) == 0o700 and mode(job.folder.parent) == 0o755


def test_what_is_written_elsewhere_follows_the_persons_own_rule(studio_home, rows_file, tmp_path, capsys) -> None:
    assert commands.main(["data", "convert", str(rows_file), "--out", str(tmp_path / "out.jsonl")]) == 0
    assert mode(tmp_path / "out.jsonl") == 0o644
    os.umask(0o027)
    files.write_atomically(tmp_path / "other.json", "{}")
    assert mode(tmp_path / "other.json") == 0o640


SAID = "Could not keep it."


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_trouble_with_the_home_names_it_and_says_what_to_do(studio_home, monkeypatch, number) -> None:
    error = home_folder.explain(OSError(number, os.strerror(number), str(studio_home / "queue.json")), SAID)
    assert str(studio_home) in error.why and "SLMSTUDIO_HOME" in error.remedy
    monkeypatch.setattr(home_folder, "is_fixed", lambda: False)
    error = home_folder.explain(OSError(number, os.strerror(number), str(studio_home / "queue.json")), SAID)
    assert "place FOLDER" in error.remedy
    elsewhere = home_folder.explain(OSError(number, os.strerror(number), "/elsewhere"), SAID)
    assert "Runs, models" not in elsewhere.why and elsewhere.remedy
