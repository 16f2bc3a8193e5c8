"""The surface that everything is on, and a line above rows that says what is different about them."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QAbstractButton, QFrame

from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.labels import ElidedLabel
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, column_of, row_in, row_of


class Card(QFrame):
    """A quiet surface with a heading and a body.

    Attributes:
        header: the heading's row. Buttons are added at its right; chips may be put behind the heading with
            `header.insertWidget(1, ...)`.
        body: the layout that takes the content.
        title: the heading's label.
    """

    def __init__(self, title: str = ""):
        super().__init__()
        self.setProperty("card", True)
        layout = column_in(self, spacing=theme.SPACE_M, margins=theme.CARD_PADDING)
        self.title = ElidedLabel(title, "heading")
        self.header = row_of(self.title, STRETCH)
        self.body = column_of(spacing=theme.SPACE_M)
        if title:
            layout.addLayout(self.header)
        layout.addLayout(self.body, 1)

    def minimumSizeHint(self) -> QSize:
        """With room for wrapped text in the lines that it takes at this width: in a lower window the page scrolls."""
        hint, layout = super().minimumSizeHint(), self.layout()
        high = layout.minimumHeightForWidth(self.width()) if layout.hasHeightForWidth() else 0
        return QSize(hint.width(), max(hint.height(), high))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if event.size().width() != event.oldSize().width():
            self.updateGeometry()


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
