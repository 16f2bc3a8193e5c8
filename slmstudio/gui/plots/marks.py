"""Lines across a plot, each with a word: upright ones on what happened there, level ones on what is allowed."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyqtgraph as pg
from PySide6.QtCore import QObject, QRectF, Qt
from PySide6.QtGui import QPainter
from PySide6.QtWidgets import QStyleOptionGraphicsItem, QWidget

from slmstudio.gui.common import theme

# -- Stretches of a plot that are in the shade, as those in which a run rested.

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


HEIGHTS = (0.94, 0.80, 0.66)
"""Where the labels are, as a share of the plot's height, so that neighbours don't overlap."""


@dataclass(frozen=True)
class Mark:
    """One line.

    Attributes:
        x: where it is, as a step.
        text: short words beside it.
        colour: a token of the theme.
    """

    x: float
    text: str
    colour: str


class _Lines(QObject):
    """Keeps the lines of one plot in step with what they stand for; ends with the plot.

    Attributes:
        shown: what they stand for.
    """

    def __init__(self, plot: pg.PlotItem):
        super().__init__(plot)
        self._plot = plot
        self.shown: tuple[Any, ...] = ()
        self._lines: list[pg.InfiniteLine] = []
        theme.THEME.changed.connect(self._draw)

    def show(self, wanted: Sequence[Any]) -> bool:
        """Show these and no others. Returns whether that changed anything."""
        if tuple(wanted) == self.shown:
            return False
        self.shown = tuple(wanted)
        self._draw()
        return True

    def _draw(self) -> None:
        for line in self._lines:
            self._plot.removeItem(line)
        self._lines = [self._line(number, each) for number, each in enumerate(self.shown)]
        for line in self._lines:
            line.label.setFont(theme.base_font(theme.SMALL_SIZE - 1))
            self._plot.addItem(line, ignoreBounds=True)

    @abstractmethod
    def _line(self, number: int, wanted: Any) -> pg.InfiniteLine:
        """One of the lines, in the colours that are on."""


class PlotMarks(_Lines):
    """Upright lines."""

    def _line(self, number: int, mark: Mark) -> pg.InfiniteLine:
        colour = theme.colour(mark.colour)
        return pg.InfiniteLine(
            mark.x, angle=90, movable=False, pen=pg.mkPen(colour, width=1, style=Qt.PenStyle.DashLine),
            label=mark.text.replace("{", "{{").replace("}", "}}"),  # the label is a format string
            labelOpts={"position": HEIGHTS[number % len(HEIGHTS)], "color": colour, "fill": theme.colour("card")})


@dataclass(frozen=True)
class Level:
    """One level line.

    Attributes:
        y: its height, in the plot's unit.
        text: short words above it, at its right end.
    """

    y: float
    text: str


class PlotLevels(_Lines):
    """Level lines."""

    def _line(self, number: int, level: Level) -> pg.InfiniteLine:
        ground = theme.colour("card")
        ground.setAlphaF(0.75)  # another line may be only a few pixels away: the words must be read before it
        return pg.InfiniteLine(
            level.y, angle=0, movable=False, pen=pg.mkPen(theme.colour("eval"), width=1, style=Qt.PenStyle.DashLine),
            label=level.text, labelOpts={"position": 1.0, "color": theme.colour("warn"), "fill": ground,
                                         "anchors": [(1, 1), (1, 1)]})
