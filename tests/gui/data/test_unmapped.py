"""Columns that tell nothing are asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFileDialog, QPushButton
from support.data_window import ODD, first, names, open_files, pick, pick_and_read, press
from support.window import text


def test_columns_that_tell_nothing_are_asked_for(qtbot, tab, odd, write_rows):
    open_files(qtbot, tab, write_rows("good.jsonl", [{"instruction": "a", "output": "b"}]), odd)
    page = tab.pages.asking
    assert page.isVisible() and text(tab, "unmapped_title") == "What do the columns of odd.csv contain?"
    assert page.table.rows.rowCount() == 8 and page.table.rows.headerData(1, Qt.Orientation.Horizontal) == "Fld-2"
    assert not page.read.isEnabled() and text(tab, "unmapped_hint") == "Choose a column for: Question, Answer"
    assert tab.banner.error is None
    pick(page, "layout", "messages")
    pick(page, "messages", "xx")
    with qtbot.waitSignal(tab.idle):
        press(qtbot, page, "unmapped_read")
    assert page.isVisible() and page.error.isVisible()
    pick(page, "layout", "instruction")
    pick(page, "instruction", "Fld 1")
    pick(page, "output", "Fld-2")
    assert not page.error.isVisible()
    with qtbot.waitSignal(tab.idle):
        press(qtbot, page, "unmapped_read")
    assert tab.workspace().isVisible() and names(tab) == ["good", "odd"] and first(tab) == ["why 1", "because 1"]


def test_such_a_file_may_be_left(qtbot, tab, odd, tmp_path):
    other = odd.with_name("other.csv")
    other.write_text(ODD, encoding="utf-8")
    open_files(qtbot, tab, odd, other)
    press(qtbot, tab, "unmapped_leave")
    assert text(tab, "unmapped_title") == "What do the columns of other.csv contain?"
    press(qtbot, tab, "unmapped_leave")
    assert tab.findChild(QPushButton, "data_choose").isVisible()


def test_another_tab_asks_for_the_columns_that_are_not_chosen_yet(qtbot, tab, new_tab, odd):
    open_files(qtbot, tab, odd)
    pick(tab.pages.asking, "output", "Fld-2")
    new = new_tab()
    new.take_over(tab)
    page = new.pages.asking
    assert page.isVisible() and page.table.rows.rowCount() == 8
    assert page.panel.mapping() == {"output": "Fld-2"}
    assert text(new, "unmapped_hint") == "Choose a column for: Question" and not page.read.isEnabled()
    box = page.panel.targets["instruction"].box
    box.setCurrentIndex(box.findData("Fld 1"))
    box.activated.emit(box.currentIndex())
    with qtbot.waitSignal(new.idle):
        press(qtbot, page, "unmapped_read")
    assert first(new) == ["why 1", "because 1"]


@pytest.fixture
def large(write_rows) -> Path:
    return write_rows("large.jsonl", [{"question": f"Q{n}", "answer": f"A{n}"} for n in range(50_000)])


def test_another_tab_takes_over_a_question_that_waits_for_a_large_file(qtbot, tab, new_tab, odd, large):
    with qtbot.waitSignal(tab.queue.was_read):
        tab.open_files([odd, large])
    new = new_tab()
    with qtbot.waitSignal(new.idle):
        new.take_over(tab)
    page = new.pages.asking
    assert page.isVisible() and page.panel.layout_name == "instruction" and page.panel.mapping() == {}
    assert text(new, "unmapped_title") == "What do the columns of odd.csv contain?" and not page.read.isEnabled()


def test_another_tab_asks_for_the_next_file_without_what_was_chosen_for_the_first(qtbot, tab, new_tab, odd, large):
    second = odd.with_name("second.csv")
    second.write_text(ODD.replace("Fld", "Col"), encoding="utf-8")
    open_files(qtbot, tab, odd, second)
    pick(tab.pages.asking, "instruction", "Fld 1")
    pick(tab.pages.asking, "output", "Fld-2")
    with qtbot.waitSignal(tab.queue.was_read):
        press(qtbot, tab, "unmapped_read")
        tab.open_files([large])
    new = new_tab()
    with qtbot.waitSignal(new.idle):
        new.take_over(tab)
    page = new.pages.asking
    assert text(new, "unmapped_title") == "What do the columns of second.csv contain?"
    assert page.panel.mapping() == {} and not page.read.isEnabled()


def test_evaluation_rows_are_read_with_the_same_columns(qtbot, tab, odd):
    open_files(qtbot, tab, odd)
    pick(tab.pages.asking, "instruction", "Fld 1")
    pick(tab.pages.asking, "output", "Fld-2")
    with qtbot.waitSignal(tab.idle):
        press(qtbot, tab.pages.asking, "unmapped_read")
    test = odd.with_name("test.csv")
    test.write_text(ODD.replace("xx", "yy"), encoding="utf-8")
    tab.workspace().split.own.setChecked(True)
    dialog = tab.findChild(QFileDialog)
    with qtbot.waitSignal(tab.idle):
        dialog.fileSelected.emit(str(test))
        dialog.accept()
    entry = tab.workspace().entry
    assert entry.eval_dataset.given == entry.dataset.given == {"instruction": "Fld 1", "output": "Fld-2"}
    pick_and_read(qtbot, tab, "output", "xx")
    assert entry.dataset.given["output"] == "xx" and entry.eval_dataset is None and entry.lost_eval == test
    assert "evaluation rows for odd.csv" in str(tab.banner.error)
