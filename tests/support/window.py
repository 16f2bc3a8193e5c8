"""What a person reads and presses, in any part of the window."""

from __future__ import annotations

from typing import TypeVar

from PySide6.QtCore import Qt, QThreadPool
from PySide6.QtWidgets import QAbstractButton, QApplication, QLabel, QWidget
from pytestqt.qtbot import QtBot

from slmstudio.gui.common import tasks

W = TypeVar("W", bound=QWidget)


def text(place: QWidget, name: str) -> str:
    """What the label of this name says."""
    return place.findChild(QLabel, name).text()


def texts(place: QWidget) -> str:
    """What all labels say that can be seen there."""
    return "\n".join(label.text() for label in place.findChildren(QLabel) if label.isVisibleTo(place))


def press(qtbot: QtBot, place: QWidget, name: str) -> None:
    """Click on the button of this name; of several, on the one that is seen."""
    found = place.findChildren(QAbstractButton, name)
    assert found, name
    qtbot.mouseClick(next((each for each in found if each.isVisible()), found[0]), Qt.MouseButton.LeftButton)


def show_widget(qtbot: QtBot, widget: W, *size: int) -> W:
    """The widget on the screen, which is closed after the test; `size` is its width and height."""
    qtbot.addWidget(widget)
    if size:
        widget.resize(*size)
    with qtbot.waitExposed(widget):
        widget.show()
    return widget


def settle() -> None:
    """What is read in the background is there, and laid out."""
    QThreadPool.globalInstance().waitForDone()
    for _ in range(3):
        QApplication.processEvents()


def end_threads() -> None:
    """All threads that follow or start a process end, as when the program quits."""
    for thread in list(tasks.living):
        thread.leave()
        assert thread.wait(60_000)
