"""Where runs and models are kept: how that is chosen, remembered, refused, and missed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from slmstudio.cli import commands
from slmstudio.core import disk_space, home_folder, paths, settings
from slmstudio.core.errors import UserError
from slmstudio.core.settings import Settings

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the places follow the XDG variables")
GIB = 1024**3


@pytest.fixture
def usual(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's own place, below tmp_path as the note of a choice is; the disk has room."""
    monkeypatch.delenv("SLMSTUDIO_HOME", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr(disk_space, "free", lambda path: 50 * GIB)
    return tmp_path / "data" / "slmstudio"


def refused(folder: Path) -> UserError:
    with pytest.raises(UserError) as error:
        home_folder.check(folder)
    assert error.value.remedy
    return error.value


def test_the_usual_place_until_one_is_chosen(usual: Path):
    assert (paths.home(), home_folder.missing()) == (usual, None)
    assert not usual.exists() and not paths.place_file().exists()


def test_a_choice_is_remembered_outside_of_the_folder(usual: Path, tmp_path: Path):
    chosen = tmp_path / "कार्य disk" / "slm"
    assert home_folder.check(chosen) == []
    assert not chosen.exists(), "a check makes nothing"
    assert home_folder.change(chosen) == ""
    assert (paths.home(), paths.runs_dir(), home_folder.missing()) == (chosen, chosen / "runs", None)
    assert paths.place_file() == tmp_path / "config" / "slmstudio" / "place.json"
    other = subprocess.run([sys.executable, "-c", "from slmstudio.core import paths; print(paths.home())"],
                           capture_output=True, text=True, timeout=100, encoding="utf-8",
                           env={**os.environ, "PYTHONUTF8": "1"})
    assert other.stdout.strip() == str(chosen), other.stderr
    home_folder.change(usual)
    assert (paths.home(), paths.place_file().exists()) == (usual, False)


def test_the_environment_wins(usual: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    home_folder.change(tmp_path / "chosen")
    monkeypatch.setenv("SLMSTUDIO_HOME", str(tmp_path / "named"))
    assert (paths.home(), home_folder.is_fixed()) == (tmp_path / "named", True)
    assert "SLMSTUDIO_HOME" in refused(tmp_path / "other").what


def test_what_was_kept_stays_and_settings_come_along(usual: Path, tmp_path: Path):
    (usual / "runs" / "a-run").mkdir(parents=True)
    (usual / "models").mkdir()
    Settings(theme="dark").save()
    stays = home_folder.change(tmp_path / "new")
    assert f"stays in {usual}: runs." in stays
    assert (usual / "runs" / "a-run").is_dir()
    assert settings.load() == (Settings(theme="dark"), None)
    Settings(theme="light").save()
    assert home_folder.change(usual) == ""  # a folder that was used before is taken with its own settings
    assert settings.load()[0].theme == "dark"


def test_folders_that_cannot_be_the_place(usual: Path, tmp_path: Path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("x")
    assert "isn't a folder" in refused(tmp_path / "file").what
    assert "write to" in refused(tmp_path / "file" / "below").what
    assert "cat.jpg" in refused(tmp_path / "photos").why
    assert "inside the program" in refused(paths.resources() / "new").what
    assert "is inside the program" in refused(Path(sys.prefix) / "share" / "new").what
    assert "write to" in refused(Path("/proc/slm")).what  # refused to root as well
    assert not paths.place_file().exists()


def test_room_on_the_disk(usual: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(disk_space, "free", lambda path: 5 * GIB)
    (warning,) = home_folder.check(tmp_path / "new")
    assert "5 GB" in warning.what
    monkeypatch.setattr(disk_space, "free", lambda path: GIB)
    assert "enough space" in refused(tmp_path / "new").what


def test_nothing_changes_while_a_job_runs(usual: Path, tmp_path: Path):
    job = usual / "runs" / "a-run" / "jobs" / "export"
    job.mkdir(parents=True)
    state = {"pid": os.getpid(), "create_time": psutil.Process().create_time()}
    (job / "process.json").write_text(json.dumps(state))
    with pytest.raises(UserError, match="while something is running"):
        home_folder.change(tmp_path / "new")
    assert paths.home() == usual
    (job / "process.json").write_text(json.dumps({**state, "create_time": 1.0}))
    home_folder.change(tmp_path / "new")


@pytest.mark.parametrize("left", [None, "empty"])
def test_a_missing_disk_is_named_and_nothing_is_made(usual: Path, tmp_path: Path, capsys, left: str | None):
    disk = tmp_path / "media" / "disk"
    home_folder.change(disk)
    disk.rename(tmp_path / "unplugged")
    if left == "empty":
        disk.mkdir()  # the point where it is mounted stays, with what a window left there as it closed
        (disk / "settings.json").write_text("{}")
    for command in (["runs"], ["place"]):
        assert commands.main(command) == 2
        assert str(disk) in capsys.readouterr().err
    assert not (disk / "runs").exists() and not usual.exists()
    if left == "empty":
        shutil.rmtree(disk)
    (tmp_path / "unplugged").rename(disk)
    assert home_folder.missing() is None


def test_a_damaged_note_is_no_reason_to_begin_anew(usual: Path, tmp_path: Path):
    home_folder.change(tmp_path / "chosen")
    for content in ("{half", "[]", '{"folder": 3}', '{"folder": "relative"}'):
        paths.place_file().write_text(content)
        with pytest.raises(UserError, match="damaged"):
            paths.home()
        assert isinstance(home_folder.missing(), UserError)
    home_folder.change(tmp_path / "chosen")
    assert paths.home() == tmp_path / "chosen"


def test_in_the_terminal(usual: Path, tmp_path: Path, capsys):
    assert commands.main(["place", str(tmp_path / "new"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (told["folder"], told["stays"]) == (str(tmp_path / "new"), "")
    assert commands.main(["place", "--usual"]) == 0
    assert paths.home() == usual
