"""The values under the pointer: a line across the plot, and a box beside it."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QPointF, Qt
from PySide6.QtWidgets import QLabel

from slmstudio.core.i18n import tr
from slmstudio.gui.common import theme
from slmstudio.gui.plots.canvas import Canvas, Curve
from slmstudio.gui.plots.shades import Shade


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
