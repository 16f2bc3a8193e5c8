"""What a plot is drawn on, and a curve of it."""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import QLabel, QWidget

from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.labels import Chip, text_label
from slmstudio.gui.common.widgets.layouts import column_in

# -- Names of curves, each with a dot in its colour.


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


CANVAS_HEIGHT = 90
X_PADDING = 0.02
DENSE, ROUGH = 2000, 0.02
"""With this many points, whose neighbours differ by that share of the height on average, joints can't be seen."""


@dataclass
class Curve:
    """One line of a plot.

    Attributes:
        label: its name in the read-out; "" leaves it out there.
        colour: a token of the theme.
        form: writes a value in the read-out.
    """

    item: pg.PlotDataItem
    label: str
    colour: str
    width: float
    alpha: float
    dots: bool
    form: Callable[[float], str]
    x: np.ndarray[Any, Any]
    y: np.ndarray[Any, Any]

    def show(self, x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> None:
        """Show other points."""
        self.x, self.y = x, y
        # Outlining a thick line of a thousand tall zigzags takes Qt ten times as long as its pieces, one by one.
        pieces = len(x) > DENSE and self.alpha == 1.0 and _is_rough(y)
        self.item.curve.setSegmentedLineMode("on" if pieces else "auto")
        self.item.setData(x, y)

    def paint(self) -> None:
        """Put the theme's colours on."""
        colour = theme.colour(self.colour)
        self.item.setSymbol("o" if self.dots else None)
        if self.dots:
            self.item.setSymbolSize(6)
            self.item.setSymbolBrush(pg.mkBrush(colour))
            self.item.setSymbolPen(None)
        colour.setAlphaF(self.alpha)
        self.item.setPen(pg.mkPen(colour, width=self.width))


class Canvas(pg.PlotWidget):  # type: ignore[misc]
    """A PlotWidget whose wheel scrolls the page, unless Ctrl is held: then it zooms along x."""

    def sizeHint(self) -> QSize:
        return QSize(240, CANVAS_HEIGHT)

    def wheelEvent(self, event: QWheelEvent) -> None:
        if event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            super().wheelEvent(event)
        else:
            event.ignore()


class Box(pg.ViewBox):  # type: ignore[misc]
    """A view that leaves room for half the height of its outermost ticks' numbers."""

    def suggestPadding(self, axis: int) -> float:
        return X_PADDING if axis == self.XAxis else min(0.25, theme.SPACE_M / max(1.0, self.height()))


def _is_rough(y: np.ndarray[Any, Any]) -> bool:
    known = y[np.isfinite(y)]
    return len(known) > 1 and bool(np.abs(np.diff(known)).mean() > ROUGH * np.ptp(known))
