"""Runs are renamed from the table, by a key or by the pencil, and no two get the same name."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QLabel, QLineEdit, QPushButton, QToolButton
from support.results_window import show
from support.window import press

from slmstudio.core import jobs
from slmstudio.core.run import folder
from slmstudio.gui.common.tasks import is_busy
from slmstudio.gui.results.run_actions import RenameDialog
from slmstudio.gui.training.tab import TrainingTab


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
