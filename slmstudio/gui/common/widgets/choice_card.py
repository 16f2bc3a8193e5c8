"""A card that is one of several choices: a click anywhere on it chooses it."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent
from PySide6.QtWidgets import QFrame, QRadioButton

from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.labels import breakable, show_text, text_label
from slmstudio.gui.common.widgets.layouts import column_of, row_in


class _Radio(QRadioButton):
    """A radio button whose neighbours are in other frames.

    Signals:
        moved(int): an arrow key asks for the one before it (-1) or after it (1).
    """

    moved = Signal(int)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        step = {Qt.Key.Key_Up: -1, Qt.Key.Key_Left: -1, Qt.Key.Key_Down: 1, Qt.Key.Key_Right: 1}.get(
            Qt.Key(event.key()), 0)
        if step:
            self.moved.emit(step)
        else:
            super().keyPressEvent(event)


class ChoiceCard(QFrame):
    """A radio button with a title and a few words below it.

    Attributes:
        radio: what is on or off; a button group makes it one of several.
        column: takes more than the title and the words.
    """

    def __init__(self, name: str, tip: str):
        super().__init__()
        self.radio = _Radio()
        self.radio.setObjectName(name)
        self.radio.setToolTip(tip)
        self.radio.toggled.connect(self._show_state)
        self.title, self.text = text_label("", "strong", wrap=True), text_label("", "small", wrap=True)
        self.column = column_of(self.title, self.text, spacing=theme.SPACE_XS)
        row_in(self, (self.radio, 0, Qt.AlignmentFlag.AlignTop), (self.column, 1), margins=theme.SPACE_M)
        self._show_state(False)

    def describe(self, title: str, text: str) -> None:
        """Show these words; without `text`, the title alone."""
        self.title.setText(breakable(title))
        show_text(self.text, breakable(text))
        self.radio.setAccessibleName(title)
        self.radio.setAccessibleDescription(text)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if self.radio.isEnabled():
            self.radio.click()
            self.radio.setFocus(Qt.FocusReason.MouseFocusReason)

    def _show_state(self, on: bool) -> None:
        self.setProperty("choice", "on" if on else "true")
        theme.restyle(self)

