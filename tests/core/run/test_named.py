"""The run that a person means by what was typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from slmstudio.core.errors import UserError
from slmstudio.core.run import folder, named
from slmstudio.core.run.config import RunConfig


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
