"""A full disk is known as one, whatever a library makes of it."""

from __future__ import annotations

import errno
import shutil
import sqlite3
from pathlib import Path

import pytest

from slmstudio.core import disk_space
from slmstudio.core.errors import UserError, from_os_error

FULL = OSError(errno.ENOSPC, "No space left on device")


def wrapped(cause: Exception) -> Exception:
    try:
        try:
            raise cause
        except Exception as error:
            raise RuntimeError("An error occurred while generating the dataset") from error
    except RuntimeError as error:
        return error


def test_a_full_disk_is_found_behind_other_errors(tmp_path):
    database = sqlite3.connect(tmp_path / "answers.db")
    database.execute("PRAGMA max_page_count = 2")
    database.execute("CREATE TABLE answers (text)")
    with pytest.raises(sqlite3.Error) as caught:
        database.execute("INSERT INTO answers VALUES (?)", ("x" * 100_000,))
    database.close()
    user_error = from_os_error(FULL, "Could not write the scores.")
    user_error.__cause__ = FULL
    for error in (FULL, wrapped(FULL), caught.value, wrapped(caught.value), user_error):
        assert disk_space.is_full(error, tmp_path)
    for error in (OSError(errno.EACCES, "no"), wrapped(ValueError("no")), UserError("no")):
        assert not disk_space.is_full(error, tmp_path)


def test_without_room_an_unknown_error_is_taken_for_a_full_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9 - 4096, 4096))
    assert disk_space.is_full(RuntimeError("sqlite thread died"), tmp_path)
    assert not disk_space.is_full(UserError("The model can't be loaded."), tmp_path)
    with pytest.raises(UserError, match="4 KB is left"):
        disk_space.require(tmp_path / "not" / "there" / "yet")


def test_the_reserve_takes_room_and_gives_it_back(tmp_path: Path):
    disk_space.keep_reserve(tmp_path)
    assert (tmp_path / disk_space.RESERVE).stat().st_size == disk_space.RESERVE_BYTES
    disk_space.give_reserve(tmp_path)
    disk_space.give_reserve(tmp_path)
    assert not list(tmp_path.iterdir())


def test_free_disk_of_a_folder_that_is_still_to_be_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    expected = shutil.disk_usage(tmp_path).free
    for path in (tmp_path, tmp_path / "runs" / "new", Path("runs/new")):
        assert disk_space.free(path) == pytest.approx(expected, rel=0.2)
