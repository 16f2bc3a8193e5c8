"""The settings file: what is remembered, and what happens to a damaged one."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slmstudio.core import paths, settings
from slmstudio.core.errors import UserError
from slmstudio.core.settings import Settings

JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3))


def test_without_a_file_there_are_defaults(studio_home: Path):
    assert settings.load() == (Settings(), None)
    assert not paths.settings_file().exists()


def test_what_is_saved_is_read(studio_home: Path):
    wanted = Settings(theme="dark", last_tab="chat", geometry="AAAA")
    wanted.remember_model(Path("/models/क"))
    wanted.save()
    assert settings.load() == (wanted, None)


@pytest.mark.parametrize("content", [b"{half", b"\xff\xfe\x00", b"[1, 2]", b"null", b"\x00" * 20])
def test_a_damaged_file_is_kept_aside(studio_home: Path, content: bytes):
    file = paths.settings_file()
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    loaded, trouble = settings.load()
    assert loaded == Settings()
    assert isinstance(trouble, UserError)
    aside = [other for other in file.parent.iterdir() if ".damaged-" in other.name]
    assert [other.read_bytes() for other in aside] == [content]
    assert aside[0].name in trouble.remedy
    loaded.save()
    assert settings.load() == (Settings(), None)


def test_unknown_keys_are_kept(studio_home: Path):
    file = paths.settings_file()
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"theme": "light", "voice": {"on": True}}), encoding="utf-8")
    loaded, trouble = settings.load()
    assert (loaded.theme, trouble) == ("light", None)
    loaded.save()
    assert json.loads(file.read_text(encoding="utf-8"))["voice"] == {"on": True}


KEYS = st.sampled_from(["theme", "last_tab", "geometry", "model_folders", "version", "unknown", "x"])


@given(st.dictionaries(KEYS, JSON))
def test_any_object_can_be_read_and_written_again(state):
    loaded = Settings.from_dict(state)
    assert loaded.theme in settings.THEMES
    assert all(isinstance(folder, str) for folder in loaded.model_folders)
    assert Settings.from_dict(json.loads(json.dumps(loaded.to_dict()))) == loaded


def test_remembered_models_are_few_and_the_newest_is_first():
    chosen = Settings()
    for number in range(30):
        chosen.remember_model(Path(f"/m/{number}"))
    chosen.remember_model(Path("/m/15"))
    assert chosen.model_folders[:2] == [str(Path("/m/15")), str(Path("/m/29"))]
    assert len(chosen.model_folders) == 20
    chosen.forget_model(Path("/m/15"))
    assert str(Path("/m/15")) not in chosen.model_folders


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_to_is_said(studio_home: Path):
    studio_home.mkdir(parents=True)
    studio_home.chmod(0o500)
    with pytest.raises(UserError, match="save the settings"):
        Settings().save()


def test_a_place_that_is_a_file_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "home").write_text("not a folder")
    monkeypatch.setenv("SLMSTUDIO_HOME", str(tmp_path / "home"))
    with pytest.raises(UserError, match="save the settings"):
        Settings().save()
    assert settings.load()[0] == Settings()


def test_a_file_that_cannot_be_read_is_not_replaced(studio_home: Path, monkeypatch: pytest.MonkeyPatch):
    """One that is damaged is: it is kept beside."""
    file = paths.settings_file()
    file.parent.mkdir(parents=True)
    file.write_text("{half", encoding="utf-8")
    loaded, trouble = settings.load_to_change()
    assert loaded == Settings() and trouble is not None and not file.exists()
    Settings(theme="dark").save()

    def refuse(path: Path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(settings.files, "read_json", refuse)  # root may read all
    with pytest.raises(UserError, match="Could not read the settings"):
        settings.load_to_change()
    assert file.exists()
