"""Stretches of a plot that are in the shade, as those in which a run rested."""

from __future__ import annotations

from dataclasses import dataclass

import pyqtgraph as pg
from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QPainter
from PySide6.QtWidgets import QStyleOptionGraphicsItem, QWidget

from slmstudio.gui.common import theme

LEAST_PIXELS = 2
"""A stretch is painted at least so wide: a pause between two steps has no width on an axis of steps."""
OPACITY, THIN_OPACITY = 0.18, 0.6


@dataclass(frozen=True)
class Shade:
    """One stretch.

    Attributes:
        start, end: on the plot's x axis.
        text: what it means, for the read-out.
    """

    start: float
    end: float
    text: str


class Shades(pg.GraphicsObject):  # type: ignore[misc]
    """All shades of one plot, painted below its curves over its whole height, however many they are."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: tuple[Shade, ...] = ()
        self.setZValue(-2)

    def show_these(self, shades: list[Shade]) -> None:
        """Show these and no others."""
        if tuple(shades) != self.shown:
            self.shown = tuple(shades)
            self.update()

    def viewRangeChanged(self) -> None:
        """Whoever zooms sees other stretches."""
        self.prepareGeometryChange()
        self.update()

    def boundingRect(self) -> QRectF:
        return self.viewRect() if self.getViewBox() is not None else QRectF()

    def paint(self, painter: QPainter, option: QStyleOptionGraphicsItem, widget: QWidget | None = None) -> None:
        seen = self.boundingRect()
        pixel = self.pixelWidth() or 0.0
        painter.setPen(Qt.PenStyle.NoPen)
        for shade in self.shown:
            width = max(shade.end - shade.start, LEAST_PIXELS * pixel)
            colour = theme.colour("eval")
            colour.setAlphaF(OPACITY if width > 2 * LEAST_PIXELS * pixel else THIN_OPACITY)
            painter.setBrush(colour)
            if shade.start + width >= seen.left() and shade.start <= seen.right():
                painter.drawRect(QRectF(shade.start, seen.top(), width, seen.height()))
