"""The surface that everything is on."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtWidgets import QFrame, QVBoxLayout, QWidget

from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.labels import ElidedLabel
from slmstudio.gui.common.widgets.layouts import STRETCH, column_of, row_of


class Card(QFrame):
    """A quiet surface with a heading, actions at the heading's right, and a body.

    Attributes:
        header: the heading's row; chips may be put behind the heading with `header.insertWidget(1, ...)`.
        body: the layout that takes the content.
        title: the heading's label.
    """

    def __init__(self, title: str = "", *, actions: Sequence[QWidget] = (), parent: QWidget | None = None):
        super().__init__(parent)
        self.setProperty("card", True)
        layout = QVBoxLayout(self)
        padding = theme.CARD_PADDING
        layout.setContentsMargins(padding, padding, padding, padding)
        layout.setSpacing(theme.SPACE_M)
        self.title = ElidedLabel(title, "heading")
        self.header = row_of(self.title, STRETCH)
        for action in actions:
            self.header.addWidget(action)
        self.body = column_of(spacing=theme.SPACE_M)
        if title or actions:
            layout.addLayout(self.header)
        layout.addLayout(self.body, 1)
