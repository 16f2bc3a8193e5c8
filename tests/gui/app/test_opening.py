"""Files that the program is started with: each opens in its tab, and what can't be opened is told."""

from __future__ import annotations

import shutil
from pathlib import Path

from slmstudio.__main__ import is_path
from slmstudio.core import paths
from slmstudio.core.run import folder
from slmstudio.core.run.config import RunConfig
from slmstudio.gui.app import single_instance
from slmstudio.gui.app.main_window import MainWindow
from slmstudio.gui.common import tasks
from slmstudio.gui.common.session import TABS


def tab(window: MainWindow) -> str:
    return TABS[window.header.tabs.currentIndex()]


def a_run(name: str, tiny_model: Path) -> Path:
    return folder.create(RunConfig(name=name, model=str(tiny_model), train_file="rows.jsonl")).folder


def test_rows_open_in_data(qtbot, window, session, write_rows):
    file = write_rows("rows.jsonl", [{"instruction": "a", "output": "b"}] * 3)
    window.go_to("model")
    single_instance.open_files([file], session, window)
    data = window.page("data")
    qtbot.waitSignal(data.idle).wait()
    assert data.workspace().entries[0].dataset.path == file and tab(window) == "data"


def test_a_run_is_selected_in_results(qtbot, window, session, studio_home, tiny_model):
    first, second = a_run("older", tiny_model), a_run("newer", tiny_model)
    results = window.page("results")
    for run, argument in ((first, first / "run.json"), (second, second), (first, first)):
        single_instance.open_files([argument], session, window)
        qtbot.waitUntil(lambda run=run: [each.folder for each in results.table.selected()] == [run]
                        and not tasks.is_busy(results))
        assert tab(window) == "results" and results.details.shows(run)


def test_a_gguf_file_opens_in_chat(qtbot, window, session, tmp_path, monkeypatch):
    wanted: list[list[Path]] = []
    monkeypatch.setattr(session, "open_chat", wanted.append)  # Chat itself would start a worker on it
    (tmp_path / "model.GGUF").write_bytes(b"GGUF")
    single_instance.open_files([tmp_path / "model.GGUF"], session, window)
    qtbot.waitUntil(lambda: bool(wanted))
    assert wanted == [[tmp_path / "model.GGUF"]]


def test_what_cannot_be_opened_is_told_at_once(qtbot, window, session, studio_home, tmp_path, tiny_model):
    elsewhere = tmp_path / "copied"
    shutil.copytree(a_run("run", tiny_model), elsewhere)
    (tmp_path / "empty").mkdir()
    found = single_instance.sort([tmp_path / "gone.jsonl", elsewhere, tmp_path / "empty"])
    assert not found.datasets and found.run is None
    told = [problem.message for problem in found.problems]
    assert "gone.jsonl doesn't exist" in told[0] and f"Copy it into {paths.runs_dir()}" in told[1]
    assert "without a run.json" in told[2]
    single_instance.open_files([tmp_path / "gone.jsonl", elsewhere], session, window)
    qtbot.waitUntil(lambda: window.banner.isVisible())


def test_files_are_told_from_commands():
    assert all(map(is_path, ("/home/a/b", "rows.jsonl", "C:\\rows.jsonl", "./runs", "नमूना.gguf")))
    assert not any(map(is_path, ("runs", "quickstart", "--version", "--out=./x", "")))
