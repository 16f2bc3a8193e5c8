"""What can be done with a finished run: it is renamed, deleted unless something works on it, and reported on."""

from __future__ import annotations

import os
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QLabel, QLineEdit, QMessageBox, QPushButton, QToolButton, QVBoxLayout, QWidget
from support import evaluated_runs
from support.results_window import show
from support.window import press

from slmstudio.core import jobs, paths
from slmstudio.core.errors import UserError
from slmstudio.core.jobs.job import Job
from slmstudio.core.report import pdf
from slmstudio.core.run import folder
from slmstudio.core.run.store import RunStore
from slmstudio.gui.common import theme
from slmstudio.gui.common.tasks import is_busy
from slmstudio.gui.results import run_actions
from slmstudio.gui.results.run_actions import RenameDialog, ReportButton
from slmstudio.gui.training.tab import TrainingTab


@pytest.fixture
def busy(studio_home, tiny_model):
    return folder.summarise(evaluated_runs.ended_run("<b>busy</b>", model=tiny_model))


@pytest.mark.parametrize(("kinds", "what", "remedy"), [
    (["evaluate"], "while an evaluation of it is running", "“Scores”"),
    (["export"], "while an export of it is running", "“Overview”"),
    (["export", "evaluate"], "while an evaluation and an export of it are running", "“Overview”"),
    (["something new"], "while a job of it is running", "Wait until it is done")])
def test_an_evaluation_or_an_export_at_work_keeps_the_run(busy, play, kinds, what, remedy):
    play("start wait:cancel cancelled")
    jobs = [Job.create(busy.folder / "jobs" / f"{kind}-1", kind) for kind in kinds]
    try:
        for job in jobs:
            job.start()
        with pytest.raises(UserError) as refused:
            run_actions.to_trash(busy)
        assert what in refused.value.what and remedy in refused.value.remedy
    finally:
        for job in jobs:
            job.kill()
    assert busy.folder.is_dir()
    run_actions.refuse_at_work(busy)  # they are gone, and with them the reason


def test_the_question_takes_a_name_as_it_is(qtbot, busy):
    window = QWidget()
    qtbot.addWidget(window)
    run_actions.ask_to_delete(window, busy, lambda run: None)
    box = window.findChild(QMessageBox)
    assert "<b>busy</b>" in box.text() and box.textFormat() == Qt.TextFormat.PlainText
    box.reject()


def test_nothing_of_a_deleted_run_stays_in_the_cache(busy, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "trash-home"))
    RunStore(worth_saving=0).history(busy.folder)
    assert list((paths.cache_dir() / "runs").iterdir())
    run_actions.to_trash(busy)
    assert not busy.folder.exists() and not list((paths.cache_dir() / "runs").iterdir())


def names(tab) -> list[str]:
    return sorted(run.config.name for run in tab.table.runs.runs)


def select(qtbot, tab, name: str) -> None:
    tab.table.select({run.folder for run in tab.table.runs.runs if run.config.name == name})
    tab.table.chosen.emit(tab.table.selected())
    qtbot.waitUntil(lambda: tab.details.title.text() == name and not is_busy(tab))


def dialog(qtbot, tab) -> RenameDialog:
    found = tab.findChild(RenameDialog)
    assert found is not None and found.isVisible()
    return found


def type_name(qtbot, asked: RenameDialog, name: str) -> None:
    field = asked.findChild(QLineEdit, "run_name")
    field.selectAll()
    qtbot.keyClicks(field, name)


def test_f2_renames_the_run_in_the_table_the_pane_and_its_folder(qtbot, tab, make_run):
    run = make_run("helpdesk")
    make_run("other")
    show(qtbot, tab, 2)
    select(qtbot, tab, "helpdesk")
    tab.table.setFocus()
    qtbot.keyClick(tab.table, Qt.Key.Key_F2)
    asked = dialog(qtbot, tab)
    assert asked.field.selectedText() == "helpdesk", "one begins to type"
    type_name(qtbot, asked, "best so far")
    qtbot.keyClick(asked.field, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: names(tab) == ["best so far", "other"] and tab.details.title.text() == "best so far")
    assert folder.summarise(run).config.name == "best so far"
    assert [each.folder for each in tab.table.selected()] == [run], "it stays selected"


def test_a_name_that_is_taken_is_told_apart(qtbot, tab, make_run):
    for name in ("helpdesk", "other", "other"):
        make_run(name)
    show(qtbot, tab, 3)
    assert names(tab) == ["helpdesk", "other", "other-2"]
    select(qtbot, tab, "helpdesk")
    qtbot.mouseClick(tab.findChild(QToolButton, "rename_run"), Qt.MouseButton.LeftButton)
    asked = dialog(qtbot, tab)
    confirm, note = asked.findChild(QPushButton, "confirm_rename"), asked.findChild(QLabel, "run_name_note")
    type_name(qtbot, asked, " ")
    assert not confirm.isEnabled() and note.text() == "A run needs a name."
    type_name(qtbot, asked, "OTHER")
    assert not confirm.isEnabled() and note.text() == "Another run has this name."
    assert asked.free.text() == "Use “OTHER-3”"
    press(qtbot, asked, "run_name_free")
    assert confirm.isEnabled() and asked.free.isHidden()
    press(qtbot, asked, "confirm_rename")
    qtbot.waitUntil(lambda: names(tab) == ["OTHER-3", "other", "other-2"])


def test_the_menu_renames_too_and_what_cannot_be_kept_is_said(qtbot, tab, make_run, unexplained):
    run = make_run("helpdesk")
    show(qtbot, tab, 1)
    actions = {action.objectName(): action for action in tab.table.findChildren(QAction)}
    assert tab.table.contextMenuPolicy() == Qt.ContextMenuPolicy.ActionsContextMenu
    assert [action.objectName() for action in tab.table.actions()] == ["menu_rename", "menu_open", "menu_delete"]
    actions["menu_rename"].trigger()
    asked = dialog(qtbot, tab)
    assert unexplained(asked) == []
    type_name(qtbot, asked, "new")
    (run / jobs.RUN).write_text("{broken")
    press(qtbot, asked, "confirm_rename")
    qtbot.waitUntil(lambda: tab.banner.error is not None)
    assert "wasn't renamed" in tab.banner.error.what and "damaged" in tab.banner.error.why
    assert (run / jobs.RUN).read_text() == "{broken"


def test_a_run_at_work_is_renamed_and_its_worker_goes_on(qtbot, tab, session, play, tiny_model):
    from slmstudio.core.run.config import RunConfig

    play("start plan:400 steps:400@20 finish")
    training = TrainingTab(session)
    qtbot.addWidget(training)
    job = folder.create(RunConfig(name="helpdesk", model=str(tiny_model), train_file="rows.jsonl"))
    training.followed.follow(job, start_worker=True)
    qtbot.waitUntil(lambda: session.job is not None and session.job.done > 0)
    show(qtbot, tab, 1)
    tab.rename(tab.table.runs.runs[0], "renamed")
    qtbot.waitUntil(lambda: names(tab) == ["renamed"])
    assert session.job.name == "Training renamed" and training.run.title.text().startswith("renamed on")
    assert job.is_alive()
    training.followed.send("stop")
    qtbot.waitUntil(lambda: not training.followed.is_running())
    assert job.outcome().state == "stopped" and job.request()["name"] == "renamed"


@pytest.fixture
def run(studio_home, tiny_model):
    return evaluated_runs.ended_run("helpdesk", model=tiny_model)


@pytest.fixture
def button(qtbot, session, run):
    window = QWidget()
    qtbot.addWidget(window)
    made = ReportButton()
    column = QVBoxLayout(window)
    for part in (made, made.strip, made.line):
        column.addWidget(part)
    made.show_run(run)
    window.show()
    made.banner = SimpleNamespace(show_error=lambda error: made.failures.append(error))
    made.failures = []
    yield made
    window.close()


@pytest.fixture
def opened(monkeypatch):
    """What was to be opened; `opened.answer` says whether the system has a program for it."""
    class Opened(list):
        answer = True

        def __call__(self, url) -> bool:
            self.append(url.toLocalFile())
            return self.answer

    calls = Opened()
    monkeypatch.setattr("PySide6.QtGui.QDesktopServices.openUrl", calls)
    return calls


def test_it_says_where_the_report_is(qtbot, button, run, opened, tmp_path):
    button.write()
    qtbot.waitUntil(button.line.isVisible)
    assert button.line.said.text() == "Written:" and button.line.place.text() == str(run / "report.html")
    press(qtbot, button.line, "report_folder")
    assert opened == [str(run / "report.html"), str(run)]
    button.show_run(run)
    assert button.line.isVisible()
    button.show_run(tmp_path)
    assert not button.line.isVisible(), "it is of another run"


def test_it_says_when_nothing_opens_it(qtbot, button, run, opened):
    opened.answer = False
    button.write()
    qtbot.waitUntil(button.line.isVisible)
    assert "no program here can open it" in button.line.said.text() and (run / "report.html").is_file()
    folder = button.line.findChild(QPushButton, "report_folder")
    assert folder.isVisible()
    qtbot.mouseClick(folder, Qt.MouseButton.LeftButton)
    assert not folder.isVisible(), "nor does anything show the folder"


def test_a_browser_that_prints_without_end_is_cancelled(qtbot, button, run, opened, tmp_path, monkeypatch):
    browser, pid = tmp_path / "chromium", tmp_path / "pid"
    browser.write_text(f"#!/bin/sh\necho $$ > {pid}.partial\nmv {pid}.partial {pid}\nexec sleep 600\n")
    browser.chmod(0o755)
    monkeypatch.setattr(pdf, "browsers", lambda: [str(browser)])
    button.save(tmp_path / "report.pdf")
    qtbot.waitUntil(lambda: button.strip.isVisible() and pid.exists())
    assert not button.isEnabled()
    qtbot.mouseClick(button.strip.cancel, Qt.MouseButton.LeftButton)
    assert button.isEnabled() and not button.strip.isVisible()
    qtbot.waitUntil(lambda: not _is_there(int(pid.read_text())))
    assert opened == button.failures == [] and not Path(tmp_path / "report.pdf").exists()


def _is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def colours(block: str) -> dict[str, str]:
    return {name.replace("-", "_"): value for name, value in re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", block)}


@pytest.mark.parametrize(("scheme", "number"), [(theme.LIGHT, 0), (theme.DARK, 1)])
def test_the_reports_palette_is_the_themes(scheme, number):
    style = (paths.resources() / "report" / "report.css").read_text("utf-8")
    found = colours(re.findall(r":root \{(.*?)\}", style, re.S)[number])
    assert len(found) > 15 and found == {name: scheme[name] for name in found}
