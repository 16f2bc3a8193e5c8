"""The surface that everything is on."""

from __future__ import annotations

from PySide6.QtWidgets import QFrame

from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.labels import ElidedLabel
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, column_of, row_of


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
