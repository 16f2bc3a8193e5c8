"""The sign on a button that what it began is still at work, where nothing else at that place says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6.QtCore import QRectF, Qt, QTimer
from PySide6.QtGui import QPainter, QPaintEvent, QPalette
from PySide6.QtWidgets import QAbstractButton, QWidget
from shiboken6 import isValid

from slmstudio.core.i18n import tr
from slmstudio.gui.common import theme

AFTER_MS, TURN_MS = 200, 60
"""What ends sooner needs no sign; and the time between two of its pictures."""
HEIGHT, TURNS = 3, 20
_pressed: list[QAbstractButton] = []
"""The button whose press is being handled."""


def note_pressed(button: QAbstractButton | None) -> None:
    """Until the event loop comes round, work that begins was begun by this button."""
    if button is not None and isValid(button):
        _pressed[:] = [button]
        QTimer.singleShot(0, _pressed.clear)


def pressed_button() -> QAbstractButton | None:
    return _pressed[0] if _pressed and isValid(_pressed[0]) else None


def still_pressed(act: Callable[[Any], object]) -> Callable[[Any], None]:
    """What a dialog calls with its answer, as a part of what the button that is pressed now began."""
    button = pressed_button()

    def later(answer: Any) -> None:
        note_pressed(button)
        act(answer)

    return later


class BusySign(QWidget):
    """A line that runs along the bottom of a button. It comes after `AFTER_MS` and goes when nothing is at work."""

    def __init__(self, button: QAbstractButton, is_busy: Callable[[], bool]):
        super().__init__(button)
        self._is_busy, self._turn = is_busy, 0
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setAccessibleName(tr("In progress"))
        self.hide()
        self._timer = QTimer(self, interval=AFTER_MS, timeout=self._look)
        self._timer.start()

    def _look(self) -> None:
        if not self._is_busy():
            self._timer.stop()
            self.hide()
            self.deleteLater()
            return
        self._timer.setInterval(TURN_MS)
        button = self.parentWidget()
        self.setGeometry(theme.RADIUS, button.height() - HEIGHT - 1, button.width() - 2 * theme.RADIUS, HEIGHT)
        self._turn = (self._turn + 1) % TURNS
        self.show()
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self.parentWidget().palette().color(QPalette.ColorRole.ButtonText))
        third = self.width() / 3
        left, width = (0.0, 3 * third) if theme.THEME.still else (4 * third * self._turn / TURNS - third, third)
        painter.drawRoundedRect(QRectF(left, 0, width, HEIGHT), HEIGHT / 2, HEIGHT / 2)
