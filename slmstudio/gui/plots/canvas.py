"""What a plot is drawn on, its axes and a curve of it; and the histogram of how many rows are how long.

Imported when it is first shown, as every plot.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QFontMetricsF, QPen, QWheelEvent
from PySide6.QtWidgets import QLabel, QWidget

from slmstudio.core.i18n import number_text, tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.labels import Chip, text_label
from slmstudio.gui.common.widgets.layouts import column_in

# -- What a plot is drawn on: its canvas, its axes, and a curve of it.


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
        self.item.setPen(pg.mkPen(colour, width=self.width) if self.width else None)


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


# -- Axes that count the way people do: 1, 2 or 5 times a power of ten, and never "(x1e+03)".

PIXELS_PER_TICK = {"left": 30, "bottom": 90}
LABEL_HALF = 34
"""Pixels that a tick's number and the unit behind it need to the right of the tick."""
Form = Callable[[float, float], str]
"""Writes a value, given the distance between two ticks."""


def plain(value: float, spacing: float) -> str:
    """As many decimals as the ticks differ in.

    >>> plain(1.5, 0.25), plain(2000.0, 500.0)
    ('1.50', '2,000')
    """
    digits = max(0, -math.floor(math.log10(spacing) + 1e-9)) if spacing > 0 else 2
    if spacing > 0 and not math.isclose(spacing * 10**digits, round(spacing * 10**digits), rel_tol=1e-6):
        digits += 1
    digits = min(digits, 6)
    size = number_text(abs(value), f",.{digits}f")
    return f"−{size}" if round(value, digits) < 0 else size


def rate(value: float, spacing: float) -> str:
    """A learning rate as the field writes it.

    >>> rate(2e-4, 1e-4), rate(1.5e-5, 5e-6), rate(0.0, 1e-4)
    ('2e-4', '1.5e-5', '0')
    """
    if abs(value) < spacing * 1e-6 or value == 0:
        return "0"
    mantissa, _, exponent = f"{value:.2e}".partition("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def even_ticks(low: float, high: float, count: int) -> tuple[float, list[float]]:
    """About `count` round values from `low` to `high`, and their distance."""
    span = high - low
    if not math.isfinite(span) or span <= 0:
        return 1.0, [low] if math.isfinite(low) else []
    rough = span / max(1, count)
    power = 10 ** math.floor(math.log10(rough))
    steps = [step * power for step in (0.5, 1, 2, 5, 10)]
    chosen = next(index for index, step in enumerate(steps) if step >= rough * 0.999)
    values: list[float] = []
    while chosen >= 0 and len(values) < 2:  # one tick alone says nothing of the scale
        spacing = steps[chosen]
        first, last = math.ceil(low / spacing - 1e-9), math.floor(high / spacing + 1e-9)
        values = [index * spacing for index in range(first, last + 1)]
        chosen -= 1
    return spacing, values


def log_ticks(low: float, high: float, count: int) -> list[float]:
    """Round values from `low` to `high` (both above 0) that lie apart on a logarithmic axis.

    >>> log_ticks(0.9, 2.3, 4)
    [1.0, 1.5, 2.0]
    """
    if high / low < 12:
        return [value for value in even_ticks(low, high, count)[1] if value > 0]
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    every = max(1, math.ceil(len(decades) / count))
    steps = (1, 2, 5) if len(decades) * 3 <= count * 2 else (1,)
    return [step * 10.0**d for d in decades if d % every == 0 for step in steps if low <= step * 10.0**d <= high]


class NumberAxis(pg.AxisItem):  # type: ignore[misc]
    """An axis with one level of ticks.

    Args:
        unit: written behind the last tick of a bottom axis, as in "600 steps".
        whole: only whole numbers get a tick.
    """

    def __init__(self, orientation: str, form: Form = plain, unit: str = "", whole: bool = False):
        super().__init__(orientation)
        self._form, self._whole = form, whole
        self.unit = unit
        self._last_with_room = math.inf
        self.enableAutoSIPrefix(False)
        self.setStyle(tickLength=0, hideOverlappingLabels=False)

    def tickValues(self, low: float, high: float, size: float) -> list[tuple[float, list[float]]]:
        self._last_with_room = high - (high - low) * LABEL_HALF / size
        count = max(2, round(size / PIXELS_PER_TICK[self.orientation]))
        if self.logMode:
            spacing, _ = even_ticks(10**low, 10**high, count)
            return [(spacing, [math.log10(value) for value in log_ticks(10**low, 10**high, count)])]
        spacing, values = even_ticks(low, high, count)
        if self._whole and spacing < 1:
            spacing, values = 1.0, [float(value) for value in range(math.ceil(low), math.floor(high) + 1)]
        return [(spacing, values)]

    def tickStrings(self, values: list[float], scale: float, spacing: float) -> list[str]:
        real = [10**value for value in values] if self.logMode else list(values)
        if self.logMode and real and max(real) / min(real) >= 12:
            texts = [f"{value:.3g}" for value in real]
        else:
            texts = [self._form(value, spacing) for value in real]
        with_room = [index for index, value in enumerate(values) if value <= self._last_with_room]
        if self.unit and with_room:
            texts[with_room[-1]] += f" {self.unit}"
            texts[with_room[-1] + 1:] = [""] * (len(texts) - with_room[-1] - 1)
        return texts

    def dress(self, **options: Any) -> None:
        """Set pens and font together: `pen` for the grid, `text` for the numbers, `font`."""
        self.setPen(None)
        self.setTickPen(options["pen"])
        self.setTextPen(options["text"])
        self.setTickFont(options["font"])
        high = math.ceil(QFontMetricsF(options["font"]).height())
        self.setStyle(tickTextHeight=high)
        if self.orientation == "bottom":
            self.setHeight(high + theme.SPACE_XS)  # by itself it stays as low as for the usual size of text


# -- Names of curves, each with a dot in its colour.


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
