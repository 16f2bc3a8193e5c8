"""A person who uses the window with the mouse, and counts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QApplication, QPlainTextEdit, QPushButton, QWidget
from pytestqt.qtbot import QtBot
from support.window import end_threads

from slmstudio.gui.app.main_window import MainWindow
from slmstudio.gui.common import tasks
from slmstudio.gui.common.session import TABS


def drop(widget: QWidget, files: list[Path]) -> None:
    """Let files go over a widget, as the window system would tell it."""
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(file)) for file in files])
    place, action = QPointF(widget.rect().center()), Qt.DropAction.CopyAction
    button, keys = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    entering = QDragEnterEvent(place.toPoint(), action, mime, button, keys)
    QApplication.sendEvent(widget, entering)
    assert entering.isAccepted()
    QApplication.sendEvent(widget, QDropEvent(place, action, mime, button, keys))


def leave(window: MainWindow) -> None:
    """End what is at work for the window."""
    training = window.page("training")
    if training.followed.job is not None:
        training.followed.job.kill()
    training.followed.detach()
    chat = window.page("chat")
    chat.lanes.close_workers()
    end_threads()  # the program waits for them too before it quits
    assert tasks.shut_down(60_000)


class Person:
    """Clicks what can be seen and pressed; a drop counts as a click, typing doesn't.

    Attributes:
        clicks: what was clicked, in order.
    """

    def __init__(self, qtbot: QtBot, window: MainWindow, patience: int):
        self._bot, self._window, self._patience = qtbot, window, patience
        self.clicks: list[str] = []

    def wait(self, condition: Callable[[], object]) -> None:
        self._bot.waitUntil(lambda: bool(condition()), timeout=self._patience)

    def click(self, name: str) -> None:
        """Click a button once it is there and can be pressed."""
        def usable() -> QPushButton | None:
            found = self._window.findChildren(QPushButton, name)
            return next((each for each in found if each.isVisible() and each.isEnabled()), None)

        self.wait(usable)
        button = usable()
        assert button is not None
        self.clicks.append(name)
        self._bot.mouseClick(button, Qt.MouseButton.LeftButton)

    def click_tab(self, tab: str) -> None:
        self.clicks.append(tab)
        tabs = self._window.header.tabs
        self._bot.mouseClick(tabs, Qt.MouseButton.LeftButton, pos=tabs.tabRect(TABS.index(tab)).center())

    def drop(self, widget: QWidget, file: Path) -> None:
        """Let a file go over a widget."""
        self.clicks.append(f"drop {file.name}")
        drop(widget, [file])

    def ask(self, question: str) -> None:
        """Type a question in Chat and press Enter."""
        editor = self._window.page("chat").findChild(QPlainTextEdit, "chat_input")
        self.wait(editor.hasFocus)
        self._bot.keyClicks(editor, question)
        self._bot.keyClick(editor, Qt.Key.Key_Return)
