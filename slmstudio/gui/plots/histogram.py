"""How many rows are how long, with the length at which they are cut.

Imported when it is first shown, as every plot.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import Qt
from PySide6.QtGui import QPen
from PySide6.QtWidgets import QWidget

from slmstudio.core.i18n import number_text, tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.layouts import column_in
from slmstudio.gui.plots.canvas import Box, Canvas, NumberAxis

BARS = 36


def binned(lengths: Sequence[int], bars: int = BARS) -> tuple[list[int], int, int]:
    """Rows in each bar, the length where the first bar begins, and how many lengths a bar has.

    >>> binned([3, 4, 9], 3)
    ([2, 0, 1], 3, 3)
    """
    low, high = min(lengths), max(lengths)
    width = max(1, -(-(high - low + 1) // bars))
    counts = np.bincount((np.asarray(lengths) - low) // width, minlength=(high - low) // width + 1)
    return [int(count) for count in counts], low, width


class Histogram(QWidget):
    """Bars of the theme; those of rows that are cut have a colour of their own.

    Args:
        name: for a screen reader.
        unit: of the lengths, as in "tokens".
        cut: names the line where rows are cut, with {length}.
    """

    def __init__(self, name: str, unit: str, cut: str):
        super().__init__()
        self._cut_text = cut
        self._lengths: Sequence[int] = ()
        self._cut: int | None = None
        self._bottom = NumberAxis("bottom", unit=unit, whole=True)
        self.canvas = Canvas(viewBox=Box(enableMenu=False), enableMenu=False, axisItems={"bottom": self._bottom})
        self.canvas.setAccessibleName(name)
        self.canvas.setToolTip(tr("Each bar stands for rows of about the same length. The higher it is, the more rows "
                                  "there are."))
        item = self.canvas.getPlotItem()
        item.setMenuEnabled(False)
        item.hideButtons()
        item.hideAxis("left")
        item.getViewBox().setMouseEnabled(x=False, y=False)
        self._bars = pg.BarGraphItem(x0=[], x1=[], height=[], y0=0)
        self._line = pg.InfiniteLine(angle=90, movable=False, label="", labelOpts={"position": 0.88, "movable": False})
        item.addItem(self._bars)
        item.addItem(self._line, ignoreBounds=True)
        column_in(self, self.canvas, spacing=None)
        theme.THEME.changed.connect(self._paint)
        self._paint()

    def show_lengths(self, lengths: Sequence[int], cut: int | None, description: str) -> None:
        """
        Args:
            cut: rows that are longer are cut; the line is drawn where there are some, or nearly.
            description: for a screen reader, in a sentence.
        """
        self._lengths, self._cut = lengths, cut
        self.canvas.setAccessibleDescription(description)
        self._paint()

    def _paint(self) -> None:
        self.canvas.setBackground(theme.colour("card"))
        self._bottom.dress(pen=QPen(theme.colour("line")), text=QPen(theme.colour("muted")),
                           font=theme.base_font(theme.SMALL_SIZE - 1))
        colour = theme.colour("bad")
        self._line.setPen(pg.mkPen(colour, width=1, style=Qt.PenStyle.DashLine))
        self._line.label.setColor(colour)
        self._line.label.setFont(theme.base_font(theme.SMALL_SIZE - 1))
        if not self._lengths:
            self._line.hide()
            return
        counts, low, width = binned(self._lengths)
        starts = [low + place * width for place in range(len(counts))]
        cut = self._cut if self._cut is not None else max(self._lengths)
        brushes = [pg.mkBrush(theme.colour("eval" if start > cut else "train")) for start in starts]
        gap = 0.12 * width
        self._bars.setOpts(x0=[start + gap / 2 for start in starts], x1=[start + width - gap / 2 for start in starts],
                           height=counts, brushes=brushes, pen=pg.mkPen(None))
        last = starts[-1] + width
        near = self._cut is not None and self._cut <= last * 1.15
        self._line.setVisible(near)
        right = max(last, self._cut) if near and self._cut is not None else last
        box = self.canvas.getPlotItem().getViewBox()
        box.setXRange(low, right, padding=0.02)
        box.setYRange(0, max(counts), padding=0.02)
        if near and self._cut is not None:
            self._line.setPos(self._cut)
            self._line.label.setFormat(self._cut_text.format(length=number_text(self._cut)))
            leftwards = self._cut > low + 0.6 * (right - low)
            self._line.label.anchors = [(1.0, 0.5), (1.0, 0.5)] if leftwards else [(0.0, 0.5), (0.0, 0.5)]
            self._line.label.updatePosition()
