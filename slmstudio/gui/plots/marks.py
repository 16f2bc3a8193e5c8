"""Lines across a plot, each with a word: upright ones on what happened there, level ones on what is allowed."""

from __future__ import annotations

from dataclasses import dataclass

import pyqtgraph as pg
from PySide6.QtCore import QObject, Qt

from slmstudio.gui.common import theme

HEIGHTS = (0.94, 0.80, 0.66)
"""Where the words stand, as a share of the plot's height: neighbours don't write over each other."""


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


class PlotMarks(QObject):
    """Keeps the lines of one plot in step with a list of marks; ends with the plot."""

    def __init__(self, plot: pg.PlotItem):
        super().__init__(plot)
        self._plot = plot
        self.marks: tuple[Mark, ...] = ()
        self._lines: list[pg.InfiniteLine] = []
        theme.THEME.changed.connect(self._draw)

    def show(self, marks: list[Mark]) -> None:
        """Show these and no others."""
        if tuple(marks) != self.marks:
            self.marks = tuple(marks)
            self._draw()

    def _draw(self) -> None:
        for line in self._lines:
            self._plot.removeItem(line)
        self._lines = [self._line(mark, HEIGHTS[index % len(HEIGHTS)]) for index, mark in enumerate(self.marks)]
        for line in self._lines:
            self._plot.addItem(line, ignoreBounds=True)

    def _line(self, mark: Mark, height: float) -> pg.InfiniteLine:
        colour = theme.colour(mark.colour)
        line = pg.InfiniteLine(
            mark.x, angle=90, movable=False, pen=pg.mkPen(colour, width=1, style=Qt.PenStyle.DashLine),
            label=mark.text.replace("{", "{{").replace("}", "}}"),  # the label is a format string
            labelOpts={"position": height, "color": colour, "fill": theme.colour("card")})
        line.label.setFont(theme.base_font(theme.SMALL_SIZE - 1))
        return line


@dataclass(frozen=True)
class Level:
    """One level line.

    Attributes:
        y: its height, in the plot's unit.
        text: short words above it, at its right end.
    """

    y: float
    text: str


class PlotLevels(QObject):
    """Keeps the level lines of one plot in step with a list; ends with the plot."""

    def __init__(self, plot: pg.PlotItem):
        super().__init__(plot)
        self._plot = plot
        self.levels: tuple[Level, ...] = ()
        self._lines: list[pg.InfiniteLine] = []
        theme.THEME.changed.connect(self._draw)

    def show(self, levels: list[Level]) -> bool:
        """Show these and no others. Returns whether that changed anything."""
        if tuple(levels) == self.levels:
            return False
        self.levels = tuple(levels)
        self._draw()
        return True

    def _draw(self) -> None:
        for line in self._lines:
            self._plot.removeItem(line)
        self._lines = [self._line(level) for level in self.levels]
        for line in self._lines:
            self._plot.addItem(line, ignoreBounds=True)

    def _line(self, level: Level) -> pg.InfiniteLine:
        ground = theme.colour("card")
        ground.setAlphaF(0.75)  # another line may be only a few pixels away: the words must be read before it
        line = pg.InfiniteLine(
            level.y, angle=0, movable=False, pen=pg.mkPen(theme.colour("eval"), width=1, style=Qt.PenStyle.DashLine),
            label=level.text, labelOpts={"position": 1.0, "color": theme.colour("warn"), "fill": ground,
                                         "anchors": [(1, 1), (1, 1)]})
        line.label.setFont(theme.base_font(theme.SMALL_SIZE - 1))
        return line
