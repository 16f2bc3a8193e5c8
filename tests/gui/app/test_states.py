"""Every tab in its states: nothing is cut, overlaps or is scrolled twice, and nothing moves from one to the next."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QPoint
from PySide6.QtTest import QTest
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QApplication,
    QComboBox,
    QLineEdit,
    QPlainTextEdit,
    QWidget,
)
from support.layout_faults import describe, faults
from support.tab_states import STATES, Stage, states

from slmstudio.core import i18n, paths
from slmstudio.gui.app import application as program
from slmstudio.gui.app import qt_texts
from slmstudio.gui.app.main_window import MainWindow
from slmstudio.gui.common import theme
from slmstudio.gui.common.session import TABS, Session
from slmstudio.gui.common.widgets.areas import Card

LOOKS = [("en", 1280, 720, 100), ("hi", 1280, 720, 150), ("en", 1280, 720, 150), ("hi", 1280, 720, 100),
         ("en", 900, 600, 100), ("en", 900, 600, 200)]
"""Language, width and height of the window, size of text in percent. In the smallest, a page is scrolled twice."""
FAST = ("data", "model")
"""In the fast tier, all tabs are seen in the first look, and these in the second."""
CASES = [pytest.param(look, tab, marks=[pytest.mark.full] if place > 1 or (place and tab not in FAST) else [],
                      id=f"{tab}-{'-'.join(map(str, look))}") for place, look in enumerate(LOOKS) for tab in STATES]
MOVES = {"training": ("plot_",), "chat": ("qt_scrollarea_viewport >",)}
"""What isn't where it was: the small plots, which the foot of a run that has ended lifts, and the conversation, which
scrolls up where the question grows."""
KNOWN = {"chat-failed-200"}
"""Where text is cut: the last line of a long message, in the smallest window with the largest text."""


@pytest.fixture
def stage(qtbot, session: Session, tiny_model: Path, tmp_path: Path, play) -> Iterator[Stage]:
    play("")
    window = MainWindow(session)  # another one may take its place
    made = Stage(window, tiny_model, tmp_path, paths.starter_train_file())
    with qtbot.waitSignal(window.painted):
        window.show()
    window.resize(1280, 720)
    yield made
    made.end()
    made.window.close()
    i18n.use("en")
    qt_texts.speak(QApplication.instance())
    theme.apply(QApplication.instance(), "light", 100)


@pytest.fixture
def look(qapp, request) -> tuple[str, int, int, int]:
    """The window is made so."""
    language, _, _, percent = request.param
    i18n.use(language)
    theme.apply(qapp, "light", percent)
    qapp.setFont(theme.base_font())
    return request.param


def places(window: MainWindow) -> dict[QWidget, QPoint]:
    """Where the named controls and the cards that can be seen are in the window."""
    kinds = (QAbstractButton, QComboBox, QLineEdit, QPlainTextEdit, Card)
    return {each: each.mapTo(window, QPoint()) for each in window.findChildren(QWidget)
            if isinstance(each, kinds) and (each.objectName() or isinstance(each, Card)) and each.isVisible()
            and not each.visibleRegion().isEmpty()}


def moved(state: str, tab: str, before: dict[QWidget, QPoint], now: dict[QWidget, QPoint]) -> Iterator[str]:
    """What isn't where it was. A message at the bottom may lift what is there."""
    for each, place in now.items():
        way = place - before.get(each, place)
        lifted = state == "failed" and way.x() == 0 and way.y() < 0
        if way and not lifted and not any(word in describe(each) for word in MOVES.get(tab, ())):
            yield f"{state}: {describe(each)} moved by {way.toTuple()}"


@pytest.mark.parametrize(("look", "tab"), CASES, indirect=["look"])
def test_nothing_is_cut_overlaps_is_scrolled_twice_or_moves(look: tuple[str, int, int, int], tab: str, request):
    theme.apply(QApplication.instance(), "light", look[3])  # the session's own look came after it
    stage = request.getfixturevalue("stage")
    stage.window.resize(*look[1:3])
    found, before = [], {}
    for name in states(stage, tab):
        shown = QApplication.activeModalWidget() or stage.window
        found += [f"{name}: {each}" for each in faults(shown) if (look[1] > 900 or each.startswith("cut"))
                  and f"{tab}-{name}-{look[3]}" not in KNOWN]
        if look == LOOKS[0] and tab in TABS:
            stage.settle()
            found += moved(name, tab, before, now := places(stage.window))
            before = now
        if shown is not stage.window:
            shown.close()
    assert found == [], "\n".join(found)


TYPED = {"data": "rows_search", "model": "model_search", "results": "runs_filter", "chat": "chat_input"}
"""By tab, the field into which something is typed before the look changes."""
READY = {"data": "done", "model": "empty", "training": "empty", "results": "done", "chat": "empty"}
CHANGES = {"language": None, "theme": ("dark", 100), "text size": ("light", 150)}


def fields(window: MainWindow, tab: str) -> list[str]:
    page = window.page(tab)
    lines = [each.text() for each in page.findChildren(QLineEdit) if each.objectName() in TYPED.values()]
    return lines + [each.toPlainText() for each in page.findChildren(QPlainTextEdit, "chat_input")]


def rows(window: MainWindow, tab: str) -> dict[str, tuple[int, int, bool]]:
    """Of each list: its current row, the first in sight, and whether the current one is."""
    return {each.objectName(): (each.currentIndex().row(), each.indexAt(QPoint(9, 9)).row(),
                                each.viewport().rect().intersects(each.visualRect(each.currentIndex())))
            for each in window.page(tab).findChildren(QAbstractItemView)
            if each.objectName() and each.isVisible() and each.model().rowCount() > 3}


@pytest.mark.parametrize("change", ["language", *(pytest.param(each, marks=pytest.mark.full)
                                                  for each in CHANGES if each != "language")])
def test_another_look_lands_on_the_same_place(qapp, change: str, stage: Stage):
    before = {}
    for tab, upto in READY.items():
        for name in states(stage, tab):
            if name == upto:
                break
        page = stage.window.page(tab)
        if tab in TYPED:
            QTest.keyClicks(page.findChild(QWidget, TYPED[tab]), "e")
            QTest.qWait(250)  # a search begins when nothing more is typed
            stage.settle()
        for view in page.findChildren(QAbstractItemView):
            if view.objectName() and view.isVisible() and view.model().rowCount() > 3:
                view.setCurrentIndex(view.model().index(view.model().rowCount() // 2, 0))
        stage.settle()
        before[tab] = fields(stage.window, tab), rows(stage.window, tab)
    stage.page("data")
    if CHANGES[change] is None:
        stage.window.session.settings.language = "hi"
        stage.window = program.open_in_language(qapp, stage.window)
    else:
        theme.apply(qapp, *CHANGES[change])
    stage.settle()
    assert stage.window.header.tabs.currentIndex() == TABS.index("data")
    for tab in before:
        stage.page(tab)
        QTest.qWait(250)
        stage.settle()
        stage.settle()
        assert fields(stage.window, tab) == before[tab][0], tab
        now = rows(stage.window, tab)
        for name, (row, first, seen) in before[tab][1].items():
            in_sight = now[name][1] == first or now[name][2] == seen
            if name == "scores_table" and change == "language":
                continue  # in a new window nothing depends on which of its rows was the current one
            hidden_before = change == "text size" and tab != "data"  # what wasn't shown may need to be scrolled
            assert now[name][0] == row and (in_sight or hidden_before), f"{tab}, {name}: {now}"
