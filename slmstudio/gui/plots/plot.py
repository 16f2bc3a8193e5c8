"""One plot: curves, an axis in plain numbers, a read-out under the pointer.

Imported when a plot is first shown: pyqtgraph and numpy aren't part of the program's start.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QEvent, QObject, QPointF, Qt
from PySide6.QtGui import QMouseEvent, QPen
from PySide6.QtWidgets import QLabel, QWidget

from slmstudio.core.i18n import number_text, tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.figures import MeaningButton
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.layouts import column_in, fill, row_of
from slmstudio.gui.plots.canvas import CANVAS_HEIGHT, X_PADDING, Box, Canvas, Curve, Form, Legend, NumberAxis, plain
from slmstudio.gui.plots.marks import Level, PlotLevels, Shade, Shades

# -- The values under the pointer: a line across the plot, and a box beside it.


class Readout(QLabel):
    """Lies on a canvas, and is hidden while the pointer is elsewhere.

    Args:
        x_form: writes the place, as in "step 484".
    """

    def __init__(self, canvas: Canvas, x_form: Callable[[float], str]):
        super().__init__(canvas)
        self._canvas, self._x_form = canvas, x_form
        self.setTextFormat(Qt.TextFormat.RichText)
        self.setProperty("readout", True)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self._rule = pg.InfiniteLine(angle=90, movable=False)
        canvas.getPlotItem().addItem(self._rule, ignoreBounds=True)
        self.leave()

    def paint_rule(self) -> None:
        """Put the theme's colours on."""
        self._rule.setPen(pg.mkPen(theme.colour("edge"), width=1))

    def leave(self) -> None:
        """The pointer is elsewhere."""
        self._rule.hide()
        self.hide()

    def read(self, position: QPointF, curves: Sequence[Curve], shades: Sequence[Shade]) -> None:
        """Show the values at a place of the canvas, in its pixels, of the curves that have a name."""
        box = self._canvas.getPlotItem().getViewBox()
        point = box.mapSceneToView(self._canvas.mapToScene(position.toPoint()))
        named = [curve for curve in curves if curve.label and len(curve.x)]
        if not named:
            return
        nearest = [curve.x[_nearest(curve.x, point.x())] for curve in named]
        x = min(nearest, key=lambda each: abs(each - point.x()))
        rows = [f"<b>{html.escape(self._x_form(x))}</b>"]
        for curve in named:
            index = _nearest(curve.x, x)
            value = curve.y[index]
            where = "" if curve.x[index] == x else f" ({self._x_form(curve.x[index])})"
            text = curve.form(value) if np.isfinite(value) else tr("not a number")
            said = html.escape(f"{curve.label} {text}{where}")  # the label may be a run's name, which may be anything
            rows.append(f'<span style="color:{theme.colour(curve.colour).name()}">●</span> {said}')
        rows += [html.escape(shade.text) for shade in shades if shade.start <= x <= shade.end][:1]
        self._rule.setPos(x)
        self._rule.show()
        place = self._canvas.mapFromScene(box.mapViewToScene(QPointF(x, point.y())))
        self._show_at("<br>".join(rows), place.x())

    def _show_at(self, text: str, x: int) -> None:
        self.setText(text)
        self.adjustSize()
        gap = theme.SPACE_S
        fits = x + gap + self.width() < self._canvas.width()
        self.move(x + gap if fits else max(0, x - gap - self.width()), theme.SPACE_XS)
        self.show()


def _nearest(x: np.ndarray[Any, Any], value: float) -> int:
    """Index of the element of the rising `x` that is nearest to `value`."""
    index = int(np.searchsorted(x, value))
    if index == 0 or (index < len(x) and x[index] - value < value - x[index - 1]):
        return index
    return index - 1


AXIS_WIDTH = 46
HEAD_ROOM = 0.25
"""Above the highest level line, as a share of the height below it: its words need it."""


class Plot(QWidget):
    """A titled plot.

    Args:
        title: with the unit, where the values have one.
        x_unit: written behind the last tick, as in "steps".
        x_form: writes the place in the read-out, as in "step 484".
        form: writes the ticks of the left axis.
        value_form: writes a value in the read-out and at the title's right.
        floor: a value that is always in sight, as 0 for a rate.
        empty: what is there before the first point.
        term: key of what the title means; empty if that explains itself.

    Attributes:
        curves: what is drawn, by the names that `add_curve` was given.
    """

    def __init__(self, title: str, *, x_unit: str, x_form: Callable[[float], str], form: Form = plain,
                 value_form: Callable[[float], str] = lambda value: number_text(value, ",.2f"),
                 floor: float | None = None,
                 empty: str = "", term: str = "", parent: QWidget | None = None):
        super().__init__(parent)
        self._value_form, self._floor = value_form, floor
        self.curves: dict[str, Curve] = {}
        self._limit: float | None = None
        self._following = True
        self.title = text_label(title, "section")
        self.value = text_label("", "strong")
        self.empty = text_label(empty, "small", wrap=True)
        self.header = row_of(self.title)
        if term:
            self.header.addWidget(MeaningButton(term))
        self.header.addStretch(1)
        self.limit = text_label("", "small")
        self.limit.hide()
        fill(self.header, self.limit, self.value)
        self.bottom = NumberAxis("bottom", unit=x_unit, whole=True)
        self.left = NumberAxis("left", form)
        self.canvas = Canvas(
            viewBox=Box(enableMenu=False), enableMenu=False, axisItems={"bottom": self.bottom, "left": self.left}
        )
        self.canvas.setAccessibleName(title)
        self.legend = Legend()
        self._build()
        self._readout = Readout(self.canvas, x_form)
        self._paint()
        theme.THEME.changed.connect(self._paint)

    def _build(self) -> None:
        column_in(self, self.header, self.legend, (self.canvas, 1), spacing=theme.SPACE_XS)
        theme.grow(self.left, "setWidth", AXIS_WIDTH)
        self.left.setGrid(255)
        self.left.setZValue(-1)  # the grid is under the curves
        self.canvas.setMinimumHeight(CANVAS_HEIGHT)
        self.canvas.setToolTip(tr("Point at the curve to read it. Ctrl and the wheel zoom, dragging moves, a double "
                                  "click shows everything again."))
        item = self.canvas.getPlotItem()
        item.setMenuEnabled(False)
        item.hideButtons()
        self._box = item.getViewBox()
        self._box.setMouseEnabled(x=True, y=False)
        # The x range is set from all points, not found by pyqtgraph from those it paints: fewer would make
        # a smaller range, that range other points, and so on without end.
        self._box.disableAutoRange(self._box.XAxis)
        self._box.sigRangeChangedManually.connect(self._stop_following)
        self._frame = pg.PlotCurveItem(pen=None)  # keeps floor and limit in sight
        self._limit_line = pg.PlotCurveItem()
        self.shades, self.levels = Shades(), PlotLevels(item)
        for each in (self._frame, self._limit_line):
            item.addItem(each)
        item.addItem(self.shades, ignoreBounds=True)
        self.empty.setParent(self.canvas)
        self.empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.empty.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.canvas.viewport().setMouseTracking(True)
        self.canvas.viewport().installEventFilter(self)
        self._show_axes(False)

    def add_curve(self, name: str, colour: str, *, label: str = "", width: float = 2.0, alpha: float = 1.0,
                  dots: bool = False) -> None:
        """Add a line, empty for now.

        Args:
            colour: a token of the theme.
            alpha: opacity, 0 to 1.
            width: 0 draws no line.
            dots: mark every point.
        """
        item = pg.PlotDataItem(connect="finite", antialias=True)
        self.canvas.addItem(item)  # which gives it the plot's own settings, so ours come after
        item.setDownsampling(auto=True, method="peak")
        item.setClipToView(True)
        item.opts["autoDownsampleFactor"] = 1.0  # a low and a high for each pixel: what a screen can show
        nothing = np.empty(0)
        self.curves[name] = Curve(item, label, colour, width, alpha, dots, self._value_form, nothing, nothing)
        self.curves[name].paint()

    def remove_curves(self) -> None:
        for curve in self.curves.values():
            self.canvas.removeItem(curve.item)
        self.curves.clear()

    def set_data(self, name: str, x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> None:
        """Show other points. Both of shape (points,), x rising; NaN leaves a gap."""
        self.curves[name].show(x, y)
        self._show_axes(any(len(each.x) for each in self.curves.values()))
        self._place_limits()
        if self._following:
            self._show_all_x()

    def set_value(self, text: str) -> None:
        """The figure of the moment, at the title's right."""
        self.value.setText(text)
        self.canvas.setAccessibleDescription(text)

    def write(self, value: float) -> str:
        """A value as this plot writes it, with its unit."""
        return self._value_form(value)

    def set_limit(self, value: float | None, text: str, tooltip: str) -> None:
        """Draw a limit in, as a dashed line; `text` names it beside the figure of the moment."""
        self.limit.setText(text)
        self.limit.setToolTip(tooltip)
        if value != self._limit:
            self._limit = value
            self._place_limits()

    def set_levels(self, levels: list[Level]) -> None:
        """Draw level lines in, each with its words above it; they are always in sight."""
        if self.levels.show(levels):
            self._place_limits()

    def set_shades(self, shades: list[Shade]) -> None:
        """Shade these stretches and no others."""
        self.shades.show_these(shades)

    def set_log(self, on: bool) -> None:
        """A logarithmic left axis."""
        self.canvas.setLogMode(y=on)
        self.show_all()

    def show_all(self) -> None:
        """Zoom out until every point is seen, and follow the newest again."""
        self._following = True
        self._box.enableAutoRange(self._box.YAxis)
        self._show_all_x()

    def _show_all_x(self) -> None:
        if (ends := self._ends()) is not None:
            first, last = ends
            self._box.setXRange(first, last if last > first else first + 1, padding=X_PADDING)

    def _stop_following(self) -> None:
        self._following = False

    def _ends(self) -> tuple[float, float] | None:
        """The first and the last x of all curves."""
        ends = [end for curve in self.curves.values() if len(curve.x) for end in (curve.x[0], curve.x[-1])]
        return (min(ends), max(ends)) if ends else None

    def _show_axes(self, on: bool) -> None:
        self.empty.setVisible(not on)
        for axis in (self.left, self.bottom):
            axis.setStyle(showValues=on)
        self.left.setGrid(255 if on else False)

    def _place_limits(self) -> None:
        ends = self._ends()
        shown = ends is not None and self._limit is not None
        self.limit.setVisible(shown)
        self._limit_line.setVisible(shown)
        if ends is None:
            return
        first, last = ends
        heights = [value for value in (self._floor, self._limit) if value is not None]
        if self.levels.shown:
            highest = max(level.y for level in self.levels.shown)
            lowest = min(float(np.nanmin(curve.y)) for curve in self.curves.values() if len(curve.y))
            heights.append(highest + HEAD_ROOM * max(0.0, highest - lowest))
        self._frame.setData([first] * len(heights), heights)
        if self._limit is not None:
            self._limit_line.setData([first, last], [self._limit] * 2)

    def _paint(self) -> None:
        """Put the theme's colours on."""
        self.canvas.setBackground(theme.colour("card"))
        font = theme.base_font(theme.SMALL_SIZE - 1)
        for axis in (self.left, self.bottom):
            axis.dress(pen=QPen(theme.colour("line")), text=QPen(theme.colour("muted")), font=font)
        self._limit_line.setPen(pg.mkPen(theme.colour("bad"), width=1, style=Qt.PenStyle.DashLine))
        self._readout.paint_rule()
        self.shades.update()
        for curve in self.curves.values():
            curve.paint()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.MouseMove and isinstance(event, QMouseEvent):
            self.read_at(event.position())
        elif event.type() == QEvent.Type.Leave:
            self._readout.leave()
        elif event.type() == QEvent.Type.MouseButtonDblClick:
            self.show_all()
            return True
        elif event.type() == QEvent.Type.Resize:
            self.empty.setGeometry(self.canvas.rect().adjusted(theme.SPACE_L, 0, -theme.SPACE_L, 0))
        return super().eventFilter(watched, event)

    def read_at(self, position: QPointF) -> None:
        """Show the values at a place of the canvas, in its pixels."""
        self._readout.read(position, list(self.curves.values()), self.shades.shown)

    def readout(self) -> str:
        """What the read-out says, as rich text; "" while the pointer is elsewhere."""
        return "" if self._readout.isHidden() else self._readout.text()
