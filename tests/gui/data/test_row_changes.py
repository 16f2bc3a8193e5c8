"""Rows changed by hand, and datasets mixed, in the window."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QApplication, QCheckBox, QDoubleSpinBox, QPlainTextEdit, QPushButton, QToolButton
from support.data_window import open_files, press
from support.window import text

from slmstudio.core import paths
from slmstudio.core.data.reader import read_dataset
from slmstudio.core.data.versions import store
from slmstudio.gui.common.session import Session
from slmstudio.gui.data.tab import DataTab

LEFT = Qt.MouseButton.LeftButton
ROWS = [{"instruction": f"Question {n}", "output": f"Answer {n}"} for n in range(1, 11)]


@pytest.fixture
def tab(qtbot, new_tab, monkeypatch, tmp_path: Path, write_rows) -> DataTab:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "trash-home"))
    shown = new_tab(height=720)
    open_files(qtbot, shown, write_rows("rows.jsonl", ROWS))
    return shown


def prompts(tab: DataTab) -> list[str]:
    model = tab.workspace().rows.table.model()
    return [model.index(row, 2).data() for row in range(model.rowCount())]


def write(tab: DataTab, place: int, words: str) -> None:
    field = tab.findChild(QPlainTextEdit, f"editor_{place}")
    field.selectAll()
    field.insertPlainText(words)


def test_rows_are_deleted_edited_and_added_and_written_together(qtbot, tab: DataTab):
    page, table = tab.workspace(), tab.workspace().rows.table
    original = page.entry.dataset.path
    table.setFocus()
    table.selectRow(1)
    qtbot.keyClick(table, Qt.Key.Key_Down, Qt.KeyboardModifier.ShiftModifier)
    qtbot.keyClick(table, Qt.Key.Key_Delete)
    assert prompts(tab)[:2] == ["Question 1", "Question 4"] and len(prompts(tab)) == 8
    table.selectRow(0)
    qtbot.keyClick(table, Qt.Key.Key_F2)
    write(tab, 1, "पहला उत्तर")
    press(qtbot, tab, "editor_save")
    press(qtbot, tab, "rows_add", QToolButton)
    write(tab, 0, "Another one")
    write(tab, 1, " ")
    press(qtbot, tab, "editor_save")
    assert "An answer is empty." in str(page.desk.editor.banner.error)
    write(tab, 1, "And its answer")
    press(qtbot, tab, "editor_save")
    assert prompts(tab)[-1] == "Another one"
    assert text(tab, "changes_text") == "3 unsaved changes"
    with qtbot.waitSignal(page.desk.replaced):
        press(qtbot, tab, "changes_write")
    made = read_dataset(paths.datasets_dir() / "rows-v2.jsonl")
    assert [record.contents for record in made.records][::8] == [("Question 1", "पहला उत्तर"),
                                                               ("Another one", "And its answer")]
    assert store.read_lineage(made.path).steps == ({"delete": 2}, {"edit": 1}, {"add": 1})
    assert read_dataset(original).count == 10
    assert page.entry.edits is None and not page.desk.hand.bar.isVisible()
    qtbot.waitUntil(lambda: text(tab, "version_text").startswith("Made from rows.jsonl. By hand: 1 row edited"))


def test_changes_are_taken_back_and_stay_with_their_dataset(qtbot, tab: DataTab, write_rows):
    press(qtbot, tab, "rows_delete", QToolButton)
    press(qtbot, tab, "rows_delete", QToolButton)
    open_files(qtbot, tab, write_rows("other.jsonl", ROWS[:3]))
    assert len(prompts(tab)) == 3 and not tab.workspace().desk.hand.bar.isVisible()
    tab.workspace().list.setCurrentRow(0)
    assert len(prompts(tab)) == 8
    press(qtbot, tab, "changes_undo")
    press(qtbot, tab, "changes_undo")
    assert prompts(tab) == [row["instruction"] for row in ROWS]
    assert not tab.workspace().desk.hand.bar.isVisible()


def test_unwritten_changes_are_asked_about_before_they_go(qtbot, tab: DataTab):
    press(qtbot, tab, "rows_delete", QToolButton)
    asked = []

    def answer(button: str) -> None:
        box = QApplication.activeModalWidget()
        asked.append(box.text())
        discard = box.findChild(QPushButton, "drop_changes")
        (discard if button == "discard" else box.defaultButton()).click()

    for button, done in (("cancel", False), ("discard", True)):
        QTimer.singleShot(0, partial(answer, button))
        assert tab.confirm_close() is done
    QTimer.singleShot(0, partial(answer, "cancel"))
    tab.workspace().remove_current()
    assert asked == ["1 change to rows isn't saved."] * 3 and len(tab.workspace().entries) == 1
    press(qtbot, tab, "changes_undo")
    assert tab.confirm_close()


def test_the_last_rows_are_not_deleted(qtbot, tab: DataTab):
    table = tab.workspace().rows.table
    table.selectAll()
    press(qtbot, tab, "rows_delete", QToolButton)
    assert tab.banner.error.what == "A dataset needs at least one row."
    assert len(prompts(tab)) == 10


def test_datasets_are_mixed_and_the_mix_is_undone(qtbot, tab: DataTab, write_rows):
    assert not tab.findChild(QPushButton, "data_mix").isVisible()
    others = [{"instruction": f"Other {n}", "output": "Yes."} for n in range(4)]
    open_files(qtbot, tab, write_rows("other.jsonl", others))
    press(qtbot, tab, "data_mix")
    assert text(tab, "mix_sum") == "The mix has 14 rows."
    tab.findChild(QDoubleSpinBox, "mix_weight_0").setValue(0.5)
    tab.findChild(QDoubleSpinBox, "mix_weight_1").setValue(2)
    assert text(tab, "mix_sum") == "The mix has 13 rows."
    page = tab.workspace()
    with qtbot.waitSignal(page.desk.made):
        press(qtbot, tab, "mix_write")
    assert page.entry.dataset.name == "rows-mix-v1" and page.entry.dataset.count == 13
    qtbot.waitUntil(lambda: text(tab, "version_text") == "Mixed from rows.jsonl (5 rows), other.jsonl (8 rows)")
    file = page.entry.dataset.path
    with qtbot.waitSignal(page.desk.closing):
        press(qtbot, tab, "version_undo")
    assert [entry.dataset.name for entry in page.entries] == ["rows", "other"] and not file.exists()


def test_datasets_of_other_kinds_are_not_mixed(qtbot, tab: DataTab, write_rows):
    open_files(qtbot, tab, write_rows("story.jsonl", [{"text": "Once upon a time."}, {"text": "The end."}]))
    press(qtbot, tab, "data_mix")
    assert not tab.findChild(QPushButton, "mix_write").isEnabled()
    assert "These datasets can't be mixed." in tab.workspace().desk.mix.banner.error.what
    tab.findChild(QCheckBox, "mix_box_1").setChecked(False)
    assert "nothing to mix" in tab.workspace().desk.mix.banner.error.what
    press(qtbot, tab, "mix_cancel")
    assert tab.workspace().rows.isVisible()


def test_data_are_not_used_or_mixed_without_the_changes(qtbot, tab: DataTab, session: Session, write_rows):
    open_files(qtbot, tab, write_rows("other.jsonl", ROWS[:3]))
    page = tab.workspace()
    page.list.setCurrentRow(0)
    press(qtbot, tab, "rows_delete", QToolButton)
    press(qtbot, tab, "data_use")
    assert session.dataset is None and "unsaved" in tab.banner.error.what
    page.desk.open_mix(page.entries)
    assert page.desk.pages.currentWidget() is not page.desk.mix


def test_nothing_is_changed_while_a_version_is_written(qtbot, tab: DataTab):
    page = tab.workspace()
    press(qtbot, tab, "rows_delete", QToolButton)
    with qtbot.waitSignal(page.desk.replaced):
        press(qtbot, tab, "changes_write")
        press(qtbot, tab, "rows_delete", QToolButton)
        assert len(page.entry.edits.changes) == 1 and "being saved" in tab.banner.error.what
    assert len(prompts(tab)) == 9 and page.entry.edits is None
    press(qtbot, tab, "rows_delete", QToolButton)
    assert len(prompts(tab)) == 8


def test_a_dataset_may_be_closed_while_its_version_is_written(qtbot, tab: DataTab):
    page = tab.workspace()
    press(qtbot, tab, "rows_delete", QToolButton)
    with qtbot.waitSignal(page.desk.replaced):
        press(qtbot, tab, "changes_write")
        page.remove(page.entry)
    assert [entry.dataset.path.name for entry in page.entries] == ["rows-v2.jsonl"]


def test_a_deletion_behind_a_filter_stays_behind_it(qtbot, tab: DataTab):
    page = tab.workspace()
    page.rows.show_only([5, 7, 9], "some")
    page.rows.table.selectRow(1)
    press(qtbot, tab, "rows_delete", QToolButton)
    assert prompts(tab) == ["Question 6", "Question 10"] and page.rows.table.currentIndex().row() == 1
    assert text(tab, "rows_filter") == "2 of 9 rows: some"
    page.rows.table.setFocus()
    qtbot.keyClick(page.rows.table, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert prompts(tab) == ["Question 6", "Question 8", "Question 10"]


def test_what_is_typed_is_kept_when_another_dataset_is_opened(qtbot, tab: DataTab, write_rows):
    page = tab.workspace()
    page.rows.table.setFocus()
    page.rows.table.selectRow(2)
    qtbot.keyClick(page.rows.table, Qt.Key.Key_F2)
    write(tab, 1, "Typed")
    open_files(qtbot, tab, write_rows("other.jsonl", ROWS[:3]))
    page.list.setCurrentRow(0)
    assert text(tab, "changes_text") == "1 unsaved change"
    assert page.desk.hand.records()[2].messages[-1]["content"] == "Typed"
