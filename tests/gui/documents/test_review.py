"""Questions made from documents are reviewed: by keys, with filters, beside the page."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QComboBox, QPlainTextEdit, QTextBrowser, QWidget
from support import document_pairs
from support.window import press

from slmstudio.core.data.reader import read_dataset
from slmstudio.core.documents import project as store
from slmstudio.core.documents.project import ACCEPTED, EDITED
from slmstudio.core.errors import UserError
from slmstudio.gui.common import tasks, theme
from slmstudio.gui.documents import review_list
from slmstudio.gui.documents.review import ReviewView
from slmstudio.gui.documents.review_list import Filters, ReviewList


@pytest.fixture
def project(studio_home):
    """2 documents of 3 sections with 3 pairs each, one of which is left out: 12 wait."""
    return document_pairs.make()


@pytest.fixture
def view(qtbot, session, project) -> ReviewView:
    made = ReviewView(session)
    made.resize(1256, 620)
    qtbot.addWidget(made)
    with qtbot.waitActive(made):
        made.show()
        made.activateWindow()
    made.open(ReviewList(store.open(project.folder)))
    qtbot.waitUntil(made.hasFocus)
    return made


def keys(qtbot, pressed: str) -> None:
    """Press single keys, wherever the focus is; "^" goes before a letter with Shift."""
    codes = {"↓": Qt.Key.Key_Down, "↑": Qt.Key.Key_Up, "⎋": Qt.Key.Key_Escape}
    shift = Qt.KeyboardModifier.NoModifier
    for each in pressed:
        if each == "^":
            shift = Qt.KeyboardModifier.ShiftModifier
            continue
        qtbot.keyClick(QApplication.focusWidget(), codes.get(each) or Qt.Key(ord(each)), shift)
        shift = Qt.KeyboardModifier.NoModifier


def on_disk(view: ReviewView) -> tuple[int, int, int, int]:
    """What waits, is accepted, is rejected and is left out, for whoever reads the project now."""
    counts = store.open(view.project.folder).counts()
    return counts.waiting, counts.accepted, counts.rejected, counts.left_out


def place(view: ReviewView) -> tuple[str, int, int]:
    return view.list.current.id, view.list.place, len(view.list.shown)


def chosen(qtbot, view: ReviewView, name: str, value: str) -> None:
    """Choose something of a filter, as a person would."""
    box = view.findChild(QComboBox, f"review_{name}")
    box.setCurrentIndex(box.findData(value))
    box.activated.emit(box.currentIndex())


def test_where_every_question_was_left_out_that_is_what_is_said(qtbot, view):
    made = document_pairs.make(finished=0)
    document_pairs.add(made, list(made.passages())[:2], doubts=("number_missing",))
    view.open(ReviewList(store.open(made.folder)))
    assert view.empty.isVisible() and "6 questions were left out" in view.empty.text.text()


def test_single_keys_decide_and_each_decision_is_on_the_disk(qtbot, view):
    assert on_disk(view) == (12, 0, 0, 6) and place(view) == ("1-1-1", 1, 12)
    keys(qtbot, "A")
    assert on_disk(view) == (11, 1, 0, 6) and place(view) == ("1-1-2", 2, 12)
    keys(qtbot, "X↓A")
    assert on_disk(view) == (9, 2, 1, 6) and place(view) == ("1-3-1", 5, 12)
    keys(qtbot, "↑↑↑↑")
    assert place(view)[:2] == ("1-1-1", 1) and view.pair.state.isVisible(), "what is decided stays in its place"
    for name, now in (("pair_reject", (9, 1, 2, 6)), ("pair_accept", (8, 2, 2, 6)), ("pair_skip", (8, 2, 2, 6))):
        press(qtbot, view, name)
        assert on_disk(view) == now and view.hasFocus(), "a click leaves the keys at work"


def test_undo_goes_back_one_by_one(qtbot, view):
    keys(qtbot, "AX^A")
    assert on_disk(view) == (8, 3, 1, 6), "the section that comes next has two that wait"
    keys(qtbot, "U")
    assert on_disk(view) == (10, 1, 1, 6) and place(view)[0] == "1-2-1"
    qtbot.keyClick(view, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert on_disk(view) == (11, 1, 0, 6) and place(view)[0] == "1-1-2"
    for _ in range(2):
        press(qtbot, view, "pair_undo")
    assert on_disk(view) == (12, 0, 0, 6) and place(view)[0] == "1-1-1" and view.hasFocus()


def test_keys_are_letters_while_something_is_written(qtbot, view):
    keys(qtbot, "E")
    answer = view.pair.fields["answer"]
    qtbot.waitUntil(answer.hasFocus)
    answer.clear()
    qtbot.keyClicks(answer, "axeur")
    keys(qtbot, "↓")
    assert answer.toPlainText() == "axeur" and on_disk(view) == (12, 0, 0, 6) and place(view)[1] == 1
    keys(qtbot, "⎋")
    assert view.hasFocus()
    keys(qtbot, "A")
    pair = store.open(view.project.folder).pairs()[0]
    assert (pair.answer, pair.decision) == ("axeur", EDITED) and place(view)[0] == "1-1-2"
    keys(qtbot, "↑")
    assert answer.toPlainText() == "axeur"
    keys(qtbot, "U")
    assert answer.toPlainText() == document_pairs.ASKED[0][3]


@pytest.mark.parametrize("left", ["next", "filter", "window"])
def test_what_was_written_is_kept_when_the_pair_is_left(qtbot, view, left):
    view.pair.fields["question"].setPlainText("कहाँ?")
    if left == "next":
        keys(qtbot, "↓")
    elif left == "filter":
        chosen(qtbot, view, "kind", "how_to")
    else:
        view.save_state()
    pair = store.open(view.project.folder).pairs()[0]
    assert (pair.question, pair.decision) == ("कहाँ?", EDITED)


def test_what_was_left_out_says_why_and_can_be_taken_back(qtbot, view):
    assert not view.pair.restore.isVisible()
    view.side.doubts.setCurrentIndex(view.side.doubts.model().index(0, 0))
    assert (view.list.filters, place(view)) == (Filters("left_out", "number_missing"), ("1-1-3", 1, 6))
    assert view.pair.why.text() and view.pair.restore.isVisible() and view.side.scopes.currentIndex().row() == 3
    keys(qtbot, "R")
    assert on_disk(view) == (13, 0, 0, 5) and place(view)[0] == "1-1-3" and not view.pair.restore.isVisible()
    keys(qtbot, "A")
    assert on_disk(view) == (12, 1, 0, 5) and place(view)[0] == "1-2-3"
    keys(qtbot, "X")
    assert on_disk(view) == (12, 1, 1, 4), "nobody has to take it back to decide"


def test_filters_show_a_part(qtbot, view):
    section = view.project.section_of(view.list.pairs["2-2-1"])
    for name, value, found in (("document", "Circular 2-2024.pdf", 6), ("section", section, 2), ("kind", "fact", 1),
                               ("document", "", 6)):
        chosen(qtbot, view, name, value)
        assert len(view.list.shown) == found, name
    assert view.list.filters.section == "", "a section belongs to its document"
    view.side.scopes.setCurrentIndex(view.side.scopes.model().index(2, 0))
    assert view.list.shown == [] and view.middle.currentWidget() is not view.pair and not view.page.isVisible()
    keys(qtbot, "AXR↓^A")
    assert on_disk(view) == (12, 0, 0, 6)


def test_the_quotation_is_marked_where_it_is(qtbot, view):
    def marked() -> list[str]:
        return [each.cursor.selectedText() for each in view.page.text.extraSelections()]

    assert marked() == [document_pairs.ASKED[0][0]] and view.pair.found.kind == "ok"
    assert view.page.text.toPlainText().startswith("Circular 1-2024\n1. आय प्रमाण पत्र\n1.1 ")
    view.pair.fields["quotation"].setPlainText("दूसरे शब्द")
    assert marked() == [] and view.pair.found.kind == "warn"
    view.pair.fields["quotation"].setPlainText(" आधार  कार्ड, वेतन\nपर्ची ")
    assert marked() == ["आधार कार्ड, वेतन पर्ची"] and view.pair.found.kind == "ok"
    assert not view.page.before.isEnabled()
    press(qtbot, view, "page_after")
    assert "2.1" in view.page.text.toPlainText() and marked() == [] and view.page.before.isEnabled()
    press(qtbot, view, "page_before")
    assert marked() == ["आधार कार्ड, वेतन पर्ची"]


def test_marks_have_the_colours_of_the_theme_that_is_on(qtbot, qapp, view):
    def grounds() -> list[str]:
        fields = view.findChildren(QPlainTextEdit) + view.findChildren(QTextBrowser)
        return [each.format.background().color().name() for field in fields for each in field.extraSelections()]

    found = {}
    for scheme in ("light", "dark", "light"):
        theme.apply(qapp, scheme)
        found.setdefault(scheme, grounds())
        assert sorted(grounds()) == sorted(theme.colour(name).name() for name in ("mark", "ok_ground"))
    assert found["light"] != found["dark"]


def test_after_the_last_one_comes_the_dataset(qtbot, view):
    keys(qtbot, "X" + "^A" * 6)
    assert on_disk(view) == (0, 11, 1, 6) and view.middle.currentWidget() is view.dataset
    assert view.dataset.accepted.radio.isChecked() and not view.dataset.all.radio.isEnabled()
    with qtbot.waitSignal(view.made) as told:
        press(qtbot, view, "dataset_make")
    rows, test = told.args
    assert test is None and len(read_dataset(rows).records) == 11
    keys(qtbot, "U")
    assert view.middle.currentWidget() is view.pair and on_disk(view)[1] == 9
    keys(qtbot, "^A")
    view.open(ReviewList(store.open(view.project.folder)))
    assert view.middle.currentWidget() is view.dataset, "there is nothing else to do"


def test_a_part_is_enough_for_a_dataset(qtbot, session, view, studio_home):
    keys(qtbot, "AAX")
    press(qtbot, view, "review_dataset")
    view.dataset.all.radio.click()
    with qtbot.waitSignal(view.made) as told:
        press(qtbot, view, "dataset_make")
    assert len(read_dataset(told.args[0]).records) == 11, "but for the one that was rejected"
    press(qtbot, view, "dataset_back")
    assert view.middle.currentWidget() is view.pair and place(view)[0] == "1-2-2"


def test_what_the_worker_adds_comes_at_the_end_and_moves_nothing(qtbot, session, studio_home, view):
    project = document_pairs.make(finished=0)
    view.open(ReviewList(project))
    view.refresh(True)
    assert view.middle.currentWidget() is not view.pair
    document_pairs.add(project, ["1-1"])
    view.refresh(True)
    assert place(view) == ("1-1-1", 1, 2) and view.middle.currentWidget() is view.pair
    keys(qtbot, "E")
    view.pair.fields["answer"].setPlainText("unfinished")
    document_pairs.add(project, ["1-2", "2-1"])
    view.refresh(True)
    assert place(view) == ("1-1-1", 1, 6) and view.pair.fields["answer"].toPlainText() == "unfinished"
    keys(qtbot, "⎋AA")
    view.list.filter(Filters(document="Circular 1-2024.pdf"))
    keys(qtbot, "AA")
    assert view.middle.currentWidget() is view.pair, "there is more to come"


def test_a_pace_is_known_after_some_decisions(qtbot, view, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(review_list.time, "monotonic", lambda: now[0])
    view.list.show("1-1-1")
    view.list._since = 0.0
    for seconds in (10, 1000, 10, 10):  # one is a walk to the kitchen
        assert view.list.seconds_left(8) is None
        now[0] += seconds
        view.list.decide(ACCEPTED)
    assert view.list.seconds_left(8) == pytest.approx(80)


def test_as_many_widgets_for_thousands_of_pairs(qtbot, session, studio_home, view):
    before = len(view.findChildren(QWidget))
    view.open(ReviewList(document_pairs.make(documents=4, sections=300)))
    chosen(qtbot, view, "document", "Circular 4-2024.pdf")
    assert len(view.list.pairs) == 3600 and len(view.list.shown) == 600
    assert len(view.findChildren(QWidget)) - before < 20


def test_a_decision_that_cannot_be_written_is_said_and_the_pair_stays(qtbot, view, monkeypatch):
    (view.project.folder / "decisions.jsonl").mkdir()
    with qtbot.captureExceptions() as raised:  # a view alone has no place for it
        keys(qtbot, "A")
    assert isinstance(raised[0][1], UserError) and place(view)[0] == "1-1-1"


def test_a_view_in_this_ones_place_shows_the_same(qtbot, session, view):
    keys(qtbot, "AA")
    chosen(qtbot, view, "document", "Circular 1-2024.pdf")
    keys(qtbot, "↓")
    other = ReviewView(session)
    qtbot.addWidget(other)
    other.open(ReviewList(store.open(view.project.folder)))
    other.restore_state(view.save_state())
    assert other.list.filters == view.list.filters and place(other) == place(view)


def test_every_control_is_explained(view, unexplained):
    assert unexplained(view) == []
    view._show_dataset()
    assert unexplained(view) == [] and not tasks.is_busy(view)
