"""One line above the rows that says what is different about them, and takes it back."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QAbstractButton, QFrame

from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.labels import ElidedLabel
from slmstudio.gui.common.widgets.layouts import row_in


class NoteBar(QFrame):
    """A sentence with buttons at its right, hidden while there is nothing to say.

    Args:
        name: the sentence's name for tests.
        kind: "ok" or "warn" gives the ground.
    """

    def __init__(self, name: str, kind: str, buttons: Sequence[QAbstractButton]):
        super().__init__()
        self.setProperty("banner", kind)
        self.text = ElidedLabel("", "body", Qt.TextElideMode.ElideRight, name=name)
        row = row_in(self, (self.text, 1), margins=(theme.SPACE_M, theme.SPACE_XS, theme.SPACE_XS, theme.SPACE_XS))
        for button in buttons:
            row.addWidget(button)
        self.hide()

    def say(self, text: str) -> None:
        """Show this sentence; an empty one hides the bar."""
        self.text.setText(text)
        self.setAccessibleName(text)
        self.setVisible(bool(text))
