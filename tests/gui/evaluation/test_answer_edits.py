"""Changes of evaluated rows that take long, and what a person does meanwhile."""

from __future__ import annotations

import errno
import os
import threading

import pytest
from PySide6.QtCore import Qt
from support import evaluated_runs

from slmstudio.core import jobs
from slmstudio.core.errors import UserError
from slmstudio.core.evaluation import answer_rows, item_edits, scoring
from slmstudio.gui.common.tasks import is_busy
from slmstudio.gui.evaluation.answers.page import RowsPage
from slmstudio.gui.evaluation.answers.panes import ReferencePane
from slmstudio.gui.evaluation.jobs import read_evaluation


@pytest.fixture
def held(monkeypatch):
    """Removing a row and taking that back wait for this event."""
    event = threading.Event()
    for name in ("remove", "undo"):
        monkeypatch.setattr(item_edits, name, _after(event, getattr(item_edits, name)))
    yield event
    event.set()


def _after(event, work):
    def late(*given):
        assert event.wait(60)
        return work(*given)

    return late


@pytest.fixture
def folders(studio_home, tiny_model):
    """Two evaluations of different runs."""
    return [evaluated_runs.write(evaluated_runs.ended_run(name, tiny_model), count=6).folder for name in "ab"]


@pytest.fixture
def page(qtbot, session, folders):
    made = RowsPage(session)
    qtbot.addWidget(made)
    made.resize(1280, 640)
    made.show()
    made.open(read_evaluation(folders[0]))
    qtbot.waitUntil(lambda: made.current() is not None)
    return made


def at_work(folder) -> None:
    """Its rows can't be changed from now on."""
    jobs.write_process_file(folder, os.getpid())


def test_nothing_is_taken_while_a_change_is_at_work(qtbot, page, held):
    page.detail.remove.click()
    page.table.selectRow(3)
    assert not (page.detail.isEnabled() or page.table.isEnabled() or page.filters.isEnabled()), "it would be lost"
    held.set()
    qtbot.waitUntil(lambda: len(page.table.rows.shown) == 5)
    assert page.detail.isEnabled() and page.table.isEnabled() and page.filters.isEnabled()


def test_a_change_that_ends_after_another_evaluation_was_opened_leaves_that_alone(qtbot, page, held, folders, session):
    page.detail.remove.click()
    page.open(read_evaluation(folders[1]))
    with qtbot.waitSignal(session.run_changed):
        held.set()
    assert not page.edits.can_undo() and page.undo.isHidden(), "the change was of the other"
    qtbot.waitUntil(lambda: not is_busy(page) and len(page.table.rows.shown) == 6)
    page.detail.remove.click()
    qtbot.waitUntil(lambda: page.edits.can_undo() and not is_busy(page))
    assert len(page.table.rows.shown) == 5
    held.clear()
    page.undo.click()
    page.open(read_evaluation(folders[0]))
    with qtbot.waitSignal(session.run_changed):
        held.set()
    qtbot.waitUntil(lambda: not is_busy(page) and page.detail.isEnabled())
    assert not answer_rows.read_corrections(folders[1]).removed, "taken back there"
    page.detail.remove.click()  # a change that has ended hinders no other
    qtbot.waitUntil(page.edits.can_undo)


# -- what is written and not kept yet --------------------------------------------------------------------------------


def begin(page, place: int, text: str) -> int:
    """Write a reference for a row, and return the row's id."""
    page.table.selectRow(place)
    page.detail.reference.begin()
    page.detail.reference.editor.setPlainText(text)
    return page.current().id


def settled(page) -> bool:
    return not is_busy(page) and not is_busy(page.edits) and page.detail.isEnabled()


def test_a_reference_that_was_begun_is_there_again_with_its_row(qtbot, page, folders):
    reference = page.detail.reference
    row = begin(page, 1, "Half a refer")
    line = page.current().line
    page.table.selectRow(3)
    assert not reference.is_edited() and f"Unsaved correction: line {line}" in page.count.text()
    page.table.selectRow(1)
    assert reference.is_edited() and reference.editor.toPlainText() == "Half a refer"
    assert "Unsaved" not in page.count.text(), "it is seen"
    page.filters.order.setCurrentIndex(4)
    page.apply()
    qtbot.waitUntil(lambda: settled(page) and page.table.rows.view.order == "file")
    assert page.current().id == row and reference.is_edited(), "the row is not taken away from the person"
    page.close_page()
    for folder in (folders[1], folders[0]):
        page.open(read_evaluation(folder))
        qtbot.waitUntil(lambda: settled(page) and page.current() is not None)
        assert not reference.is_edited()
    page.table.selectRow(next(at for at in range(6) if page.table.rows.row_at(at).id == row))
    assert reference.is_edited() and reference.editor.toPlainText() == "Half a refer"
    reference.leave()
    page.table.selectRow(page.table.currentIndex().row() - 1)
    page.table.selectRow(page.table.currentIndex().row() + 1)
    assert not reference.is_edited(), "it was let go of"


def test_the_arrows_go_through_the_rows_from_the_start(qtbot, page):
    assert page.table.hasFocus()
    qtbot.keyClick(page.table, Qt.Key.Key_Down)
    assert page.table.currentIndex().row() == 1


def test_f2_in_a_field_that_is_open_takes_nothing_away(page):
    begin(page, 0, "Half a refer")
    page.detail.reference.begin()
    assert page.detail.reference.editor.toPlainText() == "Half a refer"


def test_a_reference_that_could_not_be_kept_stays_in_its_field(qtbot, page, folders):
    begin(page, 0, "A better one.")
    at_work(folders[0])
    page.detail.reference.keep.click()
    qtbot.waitUntil(lambda: page.banner.isVisible() and settled(page))
    reference = page.detail.reference
    assert reference.is_edited() and reference.editor.toPlainText() == "A better one."
    reference.editor.setPlainText("A still better one.")
    page.edits.failed.emit(UserError("A change in another evaluation failed."))
    assert reference.editor.toPlainText() == "A still better one.", "what was written since is not lost either"
    (folders[0] / jobs.PROCESS).unlink()
    reference.keep.click()
    qtbot.waitUntil(lambda: page.edits.can_undo() and settled(page))
    assert page.current().references == ["A still better one."] and not reference.is_edited()
    assert page.banner.isHidden() and "Unsaved" not in page.count.text()


def test_what_was_kept_is_not_told_as_begun_where_another_row_is_shown_then(qtbot, page, monkeypatch):
    ids = {row.id: row for row in page.table.rows.rows}
    row = begin(page, 1, "bar")
    monkeypatch.setattr("slmstudio.gui.evaluation.answers.page.arrange", lambda rows, view, cancelled: [
        at for at, each in enumerate(rows) if each.references != ["bar"]])
    page.detail.reference.keep.click()
    qtbot.waitUntil(lambda: page.edits.can_undo() and settled(page))
    assert page.current().id != row and len(page.table.rows.shown) == len(ids) - 1
    assert page.detail.unfinished() == set() and "Unsaved" not in page.count.text()
    page.undo.click()
    qtbot.waitUntil(lambda: settled(page) and len(page.table.rows.shown) == len(ids))
    assert page.current().id == row and not page.detail.reference.is_edited()


def test_what_was_kept_while_another_evaluation_is_open_is_not_begun(qtbot, page, folders, monkeypatch, session):
    go_on = threading.Event()
    monkeypatch.setattr(item_edits, "set_references", _after(go_on, item_edits.set_references))
    row = begin(page, 1, "bar")
    page.detail.reference.keep.click()
    page.close_page()
    page.open(read_evaluation(folders[1]))
    with qtbot.waitSignal(session.run_changed):
        go_on.set()
    page.open(read_evaluation(folders[0]))
    qtbot.waitUntil(lambda: settled(page) and len(page.table.rows.shown) == 6)
    page.filters.order.setCurrentIndex(4)
    page.apply()
    qtbot.waitUntil(lambda: settled(page) and page.table.rows.view.order == "file")
    assert page.detail.unfinished() == set()
    page.table.selectRow(row)
    assert page.current().references == ["bar"] and not page.detail.reference.is_edited()


def test_the_pencil_alone_is_no_correction(qtbot):
    pane = ReferencePane("reference")
    qtbot.addWidget(pane)
    for references in (["a\n---\nb"], [""], ["dix\u00a0heures\r\n"], ["yes", "yes"], ["a", "b"]):
        pane.set_references(references)
        pane.begin()
        assert pane.draft() is None and not pane.keep.isEnabled(), references
        pane.editor.setPlainText("c")
        assert pane.draft() == "c" and pane.keep.isEnabled()
        pane.set_references(references)
        assert pane.go_on("c") and pane.draft() == "c", "and what was begun before still is one"


def test_an_answer_that_is_written_twice_is_one(qtbot):
    pane = ReferencePane("reference")
    qtbot.addWidget(pane)
    pane.set_references(["no"])
    pane.begin()
    pane.editor.setPlainText("yes\n---\nyes")
    with qtbot.waitSignal(pane.references_wanted) as asked:
        pane.keep.click()
    assert asked.args == [["yes"]]
    pane.set_references(["yes"])
    assert not pane.go_on("yes\n---\nyes"), "it was kept"


def test_a_tag_is_kept_once_and_not_lost_while_something_else_is_taken_back(qtbot, page, held, folders, monkeypatch):
    asked, set_tags = [], item_edits.set_tags
    monkeypatch.setattr(item_edits, "set_tags", lambda *given: (asked.append(given[1:3]), set_tags(*given))[1])
    held.set()
    page.detail.remove.click()
    qtbot.waitUntil(lambda: page.edits.can_undo() and settled(page))
    held.clear()
    row = page.current().id
    page.undo.click()
    page.detail.category.setText("law")
    for _ in range(2):
        page.detail.category.editingFinished.emit()  # Enter, and the field that is switched off loses the focus
    held.set()
    qtbot.waitUntil(lambda: asked == [(row, "law")] and settled(page) and len(page.table.rows.shown) == 6)
    assert page.current().category == "law" and page.current().id == row


# -- while the answers are read --------------------------------------------------------------------------------------


@pytest.fixture
def reading(monkeypatch):
    """Reading answers waits for this event."""
    event = threading.Event()
    monkeypatch.setattr(answer_rows.Rows, "scored", _after(event, answer_rows.Rows.scored))
    yield event
    event.set()


def test_another_order_and_undo_wait_until_the_answers_are_read(qtbot, page, reading, folders):
    page.detail.remove.click()
    qtbot.waitUntil(lambda: page.strip.isVisible())
    page.filters.order.setCurrentIndex(4)
    page.filters.changed.emit()
    page.edits.undo()
    assert page.strip.isVisible() and not is_busy(page.edits)
    assert answer_rows.read_corrections(folders[0]).removed
    reading.set()
    qtbot.waitUntil(lambda: settled(page) and len(page.table.rows.shown) == 6)
    assert [row.id for row in page.table.rows.rows] == page.table.rows.shown == list(range(6))


def test_a_search_that_was_left_does_not_end_the_reading_of_the_next_evaluation(qtbot, page, folders):
    page.filters.search.setText("Pune")
    page.open(read_evaluation(folders[1]))
    assert not page.filters.search.text()
    qtbot.waitUntil(lambda: settled(page) and len(page.table.rows.shown) == 6)


def test_rows_are_neither_voted_on_nor_saved_while_others_are_read(qtbot, page, reading, folders):
    assert page.vote.isEnabled() and page.save.isEnabled()
    page.open(read_evaluation(folders[1]))
    assert not (page.vote.isEnabled() or page.save.isEnabled())
    reading.set()
    qtbot.waitUntil(lambda: settled(page) and page.current() is not None)
    assert page.vote.isEnabled() and page.save.isEnabled()


def test_a_change_that_fails_after_the_page_was_closed_is_told_elsewhere(qtbot, page, held, folders):
    at_work(folders[0])
    line = page.current().line
    page.detail.remove.click()
    page.close_page()
    with qtbot.waitSignal(page.failed) as told:
        held.set()
    assert f"in line {line} of tests.jsonl" in told.args[0].what and page.banner.isHidden()


def test_a_change_that_ends_after_the_page_was_closed_reads_nothing(qtbot, page, held, session):
    page.detail.remove.click()
    page.close_page()
    with qtbot.waitSignal(session.run_changed):
        held.set()
    assert not is_busy(page) and not page.table.rows.rows


def test_ctrl_z_takes_an_old_message_away_as_the_button_does(qtbot, page):
    page.detail.remove.click()
    qtbot.waitUntil(lambda: page.edits.can_undo() and settled(page))
    page.banner.show_error(UserError("An older trouble."))
    qtbot.keyClick(page.table, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert page.banner.isHidden()
    qtbot.waitUntil(lambda: settled(page) and len(page.table.rows.shown) == 6)


def test_category_and_language_stay_with_their_evaluation(qtbot, page, folders):
    def open_(folder):
        page.open(read_evaluation(folder))
        qtbot.waitUntil(lambda: settled(page) and bool(page.table.rows.shown))
        return page.filters.language.currentData(), len(page.table.rows.shown)

    page.filters.language.setCurrentIndex(page.filters.language.findData("hi"))
    assert open_(folders[0]) == ("hi", 3), "the same one again"
    assert open_(folders[1]) == (None, 6)
    assert open_(folders[0]) == (None, 6)


def test_what_failed_after_another_evaluation_was_opened_says_where(qtbot, page, held, folders):
    page.open(read_evaluation(folders[0]), run="a")
    qtbot.waitUntil(lambda: settled(page) and page.current() is not None)
    at_work(folders[0])
    line = page.current().line
    page.detail.remove.click()
    page.open(read_evaluation(folders[1]), run="b")
    held.set()
    qtbot.waitUntil(lambda: page.banner.isVisible() and settled(page))
    assert f"in line {line} of tests.jsonl (a, today " in page.banner.error.what
    assert page.count.text() == "6 rows"


@pytest.mark.parametrize("opened", ["nothing else", "another evaluation"])
def test_a_change_that_could_not_be_scored_is_shown_and_said(qtbot, page, folders, monkeypatch, opened):
    scored, go_on = threading.Event(), threading.Event()

    def full(folder):
        scored.set()
        assert go_on.wait(60)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(scoring, "score", full)
    line = page.current().line
    page.detail.category.setText("law")
    page.detail.category.editingFinished.emit()
    qtbot.waitUntil(scored.is_set)
    if opened == "another evaluation":
        page.open(read_evaluation(folders[1]), run="b")
    go_on.set()
    if opened == "another evaluation":
        qtbot.waitUntil(lambda: page.banner.isVisible() and settled(page))
        assert f"in line {line} of tests.jsonl (" in page.banner.error.what and "full" in page.banner.error.why
    else:
        qtbot.waitUntil(lambda: "haven't been updated" in page.count.text() and settled(page))
        assert "full" in page.count.text() and page.current().category == "law"
