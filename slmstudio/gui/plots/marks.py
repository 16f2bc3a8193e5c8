"""Vertical lines across a plot, each with a word on what happened there."""

from __future__ import annotations

from dataclasses import dataclass

import pyqtgraph as pg
from PySide6.QtCore import QObject, Qt

from slmstudio.gui.common import theme

HEIGHTS = (0.94, 0.80, 0.66)
"""Where the words stand, as a share of the plot's height: neighbours do not write over each other."""


@dataclass(frozen=True)
class Mark:
    """One line.

    Attributes:
        x: where it stands, as a step.
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
