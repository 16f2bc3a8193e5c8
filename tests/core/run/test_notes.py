"""Notes and tags of a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slmstudio.core.errors import UserError
from slmstudio.core.run import notes
from slmstudio.core.run.notes import Notes, parse_tags


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    kept = Notes("Erster Lauf mit हिन्दी.\nLine two.", ("best", "हिन्दी"))
    notes.write(tmp_path, kept)
    assert notes.read(tmp_path) == kept
    assert kept.has("BEST") and not kept.has("bes")


def test_no_file_a_damaged_one_and_one_of_wrong_types_say_nothing(tmp_path: Path) -> None:
    assert notes.read(tmp_path) == Notes()
    for content in ("{broken", "[]", '{"note": 7, "tags": "best"}', '{"tags": [1, null]}'):
        (tmp_path / notes.FILE).write_text(content)
        assert notes.read(tmp_path) == Notes()


def test_empty_notes_leave_no_file_and_unknown_keys_stay(tmp_path: Path) -> None:
    (tmp_path / notes.FILE).write_text('{"note": "old", "rating": 5}')
    notes.write(tmp_path, Notes("new"))
    assert json.loads((tmp_path / notes.FILE).read_text())["rating"] == 5
    notes.write(tmp_path, Notes())
    assert not (tmp_path / notes.FILE).exists()


def test_a_folder_that_is_a_file_is_said(tmp_path: Path) -> None:
    file = tmp_path / "run"
    file.write_text("")
    with pytest.raises(UserError):
        notes.write(file, Notes("x"))


@given(st.text())
def test_tags_are_clean_and_stay_what_they_are(text: str) -> None:
    tags = parse_tags(text)
    assert len({tag.casefold() for tag in tags}) == len(tags)
    assert all(tag == tag.strip() and 0 < len(tag) <= notes.LONGEST_TAG for tag in tags)
    assert parse_tags(", ".join(tags)) == tags
