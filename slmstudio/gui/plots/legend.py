"""A chip with a dot in the colour of a curve."""

from __future__ import annotations

import html

from PySide6.QtCore import Qt

from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.labels import Chip


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
        dot = f'<span style="color:{theme.colour(self._colour).name()}">●</span>'
        self.setText(f"{dot} {html.escape(self._plain)}")
