"""Runs by their folders and their names: told apart when they are made, changed in one place, found by what was typed,
and what is said of one whose run.json is lost."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import report_run

from slmstudio.core import jobs
from slmstudio.core.errors import UserError
from slmstudio.core.run import folder, named
from slmstudio.core.run.config import RunConfig


def make(parent: Path, name: str) -> Path:
    return folder.create(RunConfig(name=name, model="m", train_file="t.jsonl"), parent).folder


def state(run: Path) -> dict:
    return json.loads((run / jobs.RUN).read_text("utf-8"))


@given(st.text(min_size=1, max_size=20), st.lists(st.text(max_size=20)))
def test_a_free_name_is_taken_by_nobody(name: str, taken: list[str]) -> None:
    found = folder.free_name(name, taken)
    assert not folder.is_name_taken(found, taken) and (found == name or folder.is_name_taken(name, taken))


def test_runs_of_the_same_name_are_told_apart_when_they_are_made(tmp_path: Path) -> None:
    made = [make(tmp_path, name) for name in ("हेल्पडेस्क", "हेल्पडेस्क", "Desk", "desk", "हेल्पडेस्क")]
    assert [state(run)["name"] for run in made] == ["हेल्पडेस्क", "हेल्पडेस्क-2", "Desk", "desk-2", "हेल्पडेस्क-3"]
    assert "desk-2" in made[3].name, "and so are their folders"


def test_a_new_name_changes_the_name_alone_and_no_order(tmp_path: Path) -> None:
    first, second = make(tmp_path, "first"), make(tmp_path, "second")
    before = state(first)
    assert folder.rename(first, "  the best\none ") == "the best one"
    assert state(first) == {**before, "name": "the best one"} and first.is_dir()
    assert [run.config.name for run in folder.all_runs(tmp_path)] == ["second", "the best one"]
    assert folder.rename(first, "The Best One") == "The Best One", "its own name, written in another way"
    assert folder.rename(second, "first") == "first", "the name is free again"


def test_an_old_run_that_does_not_say_when_it_was_made_says_so_then(tmp_path: Path) -> None:
    run = make(tmp_path, "old")
    kept = {key: value for key, value in state(run).items() if key != "created"}
    (run / jobs.RUN).write_text(json.dumps(kept))
    os.utime(run / jobs.RUN, (1_700_000_000, 1_700_000_000))
    folder.rename(run, "older")
    assert folder.summarise(run).created == 1_700_000_000


def test_a_name_that_is_taken_is_refused_with_one_that_is_free(tmp_path: Path) -> None:
    run = make(tmp_path, "one")
    make(tmp_path, "two")
    make(tmp_path, "two")
    with pytest.raises(UserError) as caught:
        folder.rename(run, "TWO")
    assert "Another run is called “TWO”." in caught.value.why and "“TWO-3” is free" in caught.value.remedy
    for name in ("", " \n", "x" * 101):
        with pytest.raises(UserError, match="wasn't renamed"):
            folder.rename(run, name)
    assert state(run)["name"] == "one"


def test_damaged_and_newer_runs_are_refused_and_left_as_they_are(tmp_path: Path) -> None:
    run = make(tmp_path, "one")
    for content, words in (("{broken", "damaged"), ('{"format": 99, "name": "one"}', "newer SLM Studio")):
        (run / jobs.RUN).write_text(content)
        with pytest.raises(UserError) as caught:
            folder.rename(run, "two")
        assert words in str(caught.value) and (run / jobs.RUN).read_text() == content
    with pytest.raises(UserError, match="wasn't renamed"):
        folder.rename(tmp_path / "absent", "two")


@pytest.fixture
def run(studio_home: Path) -> Path:
    made = folder.create(RunConfig(name="Ward desk", model="base", train_file="rows.jsonl")).folder
    (made / "adapter").mkdir()
    return made


def test_a_folder_what_it_left_and_its_names(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [named.find(text) for text in (run, run / "adapter", "ward  desk", run.name)] == [run] * 4
    monkeypatch.chdir(run.parent)
    assert named.find(f"{run.name}/adapter") == run
    assert named.find(tmp_path / "Ward desk") is None and named.find("rows") is None
    (run.parent / "ward desk").mkdir()
    assert named.find("ward desk") is None, "what lies there goes before a name"


def test_where_only_a_run_is_meant_nothing_hides_it(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ward desk").mkdir()
    Path(run.name).write_text("notes")
    assert [named.need(text) for text in ("ward desk", run.name)] == [run] * 2
    assert named.or_path("ward desk") == Path("ward desk"), "it may be a model"


def test_starter_is_the_starter_model_unless_only_a_run_can_be_meant(run: Path) -> None:
    folder.rename(run, "starter")
    assert named.find("starter") is None
    assert named.find(run.name) == named.need("starter") == named.or_path("starter") == run


def test_nothing_of_that_name(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"There's no run “ward dask”.*Did you mean: Ward desk.* runs") as caught:
        named.need("ward dask")
    assert caught.value.remedy
    with pytest.raises(UserError, match=r"There's no run “x”. To see the runs"):
        named.need("x")
    with pytest.raises(UserError, match="isn't a run folder"):
        named.need(tmp_path)
    assert named.or_path(tmp_path) == tmp_path, "it may be a model"
    with pytest.raises(UserError, match=r"x\.gguf doesn't exist"):
        named.or_path("x.gguf")


def test_two_runs_of_one_name(run: Path) -> None:
    copy = run.with_name("copy")
    copy.mkdir()
    (copy / "run.json").write_bytes((run / "run.json").read_bytes())
    with pytest.raises(UserError, match=r"Several runs are called ward desk.*copy"):
        named.find("ward desk")


def lost(run, kind):
    path = run / "run.json"
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to("nowhere")


@pytest.mark.parametrize("kind", ["missing", "folder", *(["pipe", "link"] if sys.platform != "win32" else [])])
def test_a_run_without_a_run_json_is_passed_over_with_the_reason(tmp_path, kind):
    made = report_run.finished(tmp_path).folder
    (made.parent / "notes").mkdir()
    lost(made, kind)
    found = []
    assert list(folder.all_runs(made.parent, lambda path, why: found.append((path, why)))) == []
    [(path, why)] = found
    assert path == made and made.name in why.what and why.why and why.remedy
