"""What the tests of the window share."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterator
from functools import partial
from operator import attrgetter
from pathlib import Path

import pytest
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSpinBox,
    QApplication,
    QLineEdit,
    QTabBar,
    QWidget,
)
from pytestqt.qtbot import QtBot
from support import clicks, evaluated_runs
from support.window import end_threads, show_widget

from slmstudio.core.settings import Settings
from slmstudio.gui.app.main_window import MainWindow
from slmstudio.gui.chat.tab import ChatTab
from slmstudio.gui.common import tasks, theme
from slmstudio.gui.common.session import Session
from slmstudio.gui.results.tab import ResultsTab


@pytest.fixture(autouse=True)
def no_garbage_of_the_test_before(garbage_stays_here: None) -> None:
    """What a test leaves goes on the main thread, before the next begins."""
    gc.collect(1)


@pytest.fixture(scope="session", autouse=True)
def threads_end(qapp: QApplication) -> Iterator[None]:
    """As when the program quits: a thread that still runs when its process ends takes that along."""
    yield
    end_threads()


@pytest.fixture
def qtbot(qtbot: QtBot) -> QtBot:
    """A part of the window that is shown by itself looks as it does there."""
    add = qtbot.addWidget

    def add_dressed(widget: QWidget, **options: object) -> None:
        if widget.parent() is None:
            theme.dress(widget)
        add(widget, **options)

    qtbot.addWidget = add_dressed  # type: ignore[method-assign]
    return qtbot


@pytest.fixture
def session(studio_home: Path, qapp: QApplication) -> Iterator[Session]:
    """A fresh session with settings of its own, in the light theme. Work that is left over ends before the next."""
    theme.apply(qapp, "light")
    yield Session(Settings(evaluate_at_end=False, measure_plans=False))  # no worker starts unasked
    assert tasks.shut_down(60_000), "a task did not end"


@pytest.fixture
def wanted_pages(session: Session) -> list[tuple[str, str, tuple[object, ...]]]:
    """What was asked of other tabs; see `Session.page_wanted`."""
    heard: list[tuple[str, str, tuple[object, ...]]] = []
    session.page_wanted.connect(lambda *wanted: heard.append(wanted))
    return heard


@pytest.fixture
def make_run(studio_home: Path, tiny_model: Path) -> Callable[..., Path]:
    """`make_run("name")`: the folder of a run that has ended, without the work."""
    return partial(evaluated_runs.ended_run, model=tiny_model)


@pytest.fixture
def tab(qtbot: QtBot, session: Session, studio_home: Path) -> ResultsTab:
    """The Results tab; tests of another tab have their own."""
    made = ResultsTab(session)
    qtbot.addWidget(made)
    made.resize(1280, 640)
    return made


@pytest.fixture
def write_rows(tmp_path: Path) -> Callable[..., Path]:
    """`write_rows("a.jsonl", [{"instruction": ..., "output": ...}, "{broken"])`: text is written as it is."""

    def write(name: str, rows: list[dict[str, object] | str]) -> Path:
        file = tmp_path / name
        lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return file

    return write


@pytest.fixture
def unexplained() -> Callable[[QWidget], list[str]]:
    """`unexplained(tab)`: its controls that have no name for a screen reader, or no tooltip."""

    def look(root: QWidget) -> list[str]:
        controls = [*root.findChildren(QAbstractButton), *root.findChildren(QAbstractSpinBox),
                    *root.findChildren(QLineEdit)]
        inner = (QAbstractSpinBox, QAbstractItemView, QLineEdit, QTabBar)  # what Qt itself puts into its controls
        own = [c for c in controls if not c.objectName().startswith("qt_") and not isinstance(c.parent(), inner)]
        # A tooltip may be the parent's: Qt asks upwards.
        return [f"{type(c).__name__} {c.objectName() or c.accessibleName()}" for c in own
                if not (c.toolTip() or c.parentWidget().toolTip())
                or not (c.accessibleName() or getattr(c, "text", str)())]

    return look


@pytest.fixture
def drop() -> Callable[[QWidget, list[Path]], None]:
    return clicks.drop


@pytest.fixture
def main_window(qtbot: QtBot, session: Session) -> MainWindow:
    """The whole window, painted and active."""
    shown = MainWindow(session)
    qtbot.addWidget(shown)
    shown.resize(1280, 720)
    with qtbot.waitSignal(shown.painted):
        shown.show()
    shown.activateWindow()
    qtbot.waitUntil(shown.isActiveWindow)
    return shown


@pytest.fixture
def chat_tab(qtbot: QtBot, session: Session, play: Callable[[str], None]) -> Iterator[ChatTab]:
    """The Chat tab on the screen. Its workers are fake ones, and gone at the end."""
    play("")
    made = ChatTab(session)
    session.page_wanted.connect(lambda tab, method, arguments: attrgetter(method)(made)(*arguments))
    show_widget(qtbot, made, 1280, 640)
    yield made
    end_threads()
