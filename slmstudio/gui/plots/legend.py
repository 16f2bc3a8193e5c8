"""Names of curves, each with a dot in its colour."""

from __future__ import annotations

import html

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QWidget

from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.labels import Chip, text_label
from slmstudio.gui.common.widgets.layouts import column_in


class LegendChip(Chip):
    """Names a curve.

    Args:
        colour: the curve's token of the theme.
    """

    def __init__(self, colour: str):
        super().__init__()
        self._colour, self._plain = colour, ""
        self.setTextFormat(Qt.TextFormat.RichText)
        theme.THEME.changed.connect(self._paint)

    def show_text(self, text: str) -> None:
        self._plain = text
        self._paint()

    def _paint(self) -> None:
        self.setText(_with_dot(self._colour, self._plain))


class Legend(QWidget):
    """The names of several curves of one plot, wrapped to its width; hidden while there are none."""

    def __init__(self) -> None:
        super().__init__()
        self._entries: list[tuple[str, str]] = []
        self._label: QLabel = text_label("", "small", wrap=True)
        self._label.setTextFormat(Qt.TextFormat.RichText)
        column_in(self, self._label, spacing=None)
        theme.THEME.changed.connect(self._paint)
        self.hide()

    def show_entries(self, entries: list[tuple[str, str]]) -> None:
        """Show these: each a colour of the theme and its words."""
        if entries != self._entries:
            self._entries = entries
            self.setVisible(bool(entries))
            self._label.setAccessibleName(", ".join(text for _, text in entries))
            self._paint()

    def _paint(self) -> None:
        entries = (_with_dot(colour, text.replace(" ", "\N{NO-BREAK SPACE}")) for colour, text in self._entries)
        self._label.setText("&nbsp; ".join(entries))


def _with_dot(colour: str, text: str) -> str:
    return f'<span style="color:{theme.colour(colour).name()}">●</span>&nbsp;{html.escape(text)}'
