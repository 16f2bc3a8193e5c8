"""Curves as SVG that is in the page itself: no script, no picture file."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape

from slmstudio.core.i18n import ntr
from slmstudio.core.report.text import visible

WIDE, NARROW, HEIGHT = 888, 432, 230
"""Pixels: one plot in the whole width of the page, or two beside each other."""
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 12, 40
POINTS = 500
"""Points of a curve that are drawn, about; with the lowest and the highest of each part kept."""
Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Curve:
    """One line of a plot.

    Attributes:
        style: the class that gives it its colour: train, eval, teal, extra, pink, faded.
        x, y: of equal length; NaN breaks the line.
        dots: mark each point.
    """

    label: str
    style: str
    x: Sequence[float]
    y: Sequence[float]
    dots: bool = False


@dataclass(frozen=True)
class Plot:
    """A plot with its axes.

    Attributes:
        title: what is drawn, with its unit.
        x_label: of the axis below.
        form: writes a value of the upright axis.
        limits: (label, value) of dashed lines across.
        mark: (label, x) of an upright line, or None.
        from_zero: the upright axis begins at 0.
        wide: it takes the whole width of the page.
    """

    title: str
    x_label: str
    curves: tuple[Curve, ...]
    form: Callable[[float], str]
    limits: tuple[tuple[str, float], ...] = ()
    mark: tuple[str, float] | None = None
    from_zero: bool = False
    wide: bool = False
    x_form: Callable[[float], str] = field(default=lambda x: f"{x:,.0f}")


def thinned(x: Sequence[float], y: Sequence[float]) -> Points:
    """About `POINTS` of a curve: of each part the lowest and the highest, in their order; first and last always.

    NaN stays where a part has one, so that a gap is seen.
    """
    count = len(x)
    if count <= POINTS:
        return list(zip(x, y, strict=True))
    parts = POINTS // 2
    kept = {0, count - 1}
    for part in range(parts):
        indices = range(part * count // parts, (part + 1) * count // parts)
        numbers = [index for index in indices if math.isfinite(y[index])]
        if numbers:
            kept |= {min(numbers, key=y.__getitem__), max(numbers, key=y.__getitem__)}
        if len(numbers) < len(indices):
            kept.add(next(index for index in indices if not math.isfinite(y[index])))
    return [(x[index], y[index]) for index in sorted(kept)]


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers from `low` to `high`, some `about` of them: steps of 1, 2 or 5 times a power of ten."""
    if not high > low:
        return [low]
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def draw(plot: Plot, name: str) -> str:
    """The plot as an <svg> element, or "" when no curve has a point.

    Args:
        name: unique in the page; its title and description are found by it.
    """
    drawn = [(curve, thinned(curve.x, curve.y)) for curve in plot.curves]
    values = [y for _, points in drawn for _, y in points if math.isfinite(y)]
    if not values:
        return ""
    all_x = [x for _, points in drawn for x, _ in points]
    scale = _Scale.around(all_x, [*values, *(value for _, value in plot.limits)], plot)
    parts = [
        f'<svg class="plot" viewBox="0 0 {scale.width} {HEIGHT}" role="img" aria-labelledby="{name}-t {name}-d">',
        f'<title id="{name}-t">{_safe(plot.title)}</title>', f'<desc id="{name}-d">{_safe(describe(plot))}</desc>',
        *_axes(plot, scale), *_lines_across(plot, scale)]
    for curve, points in drawn:
        parts.append(_line(curve, points, scale))
    return "".join([*parts, "</svg>"])


def describe(plot: Plot) -> str:
    """The curves in words, for people who can't see them."""
    said = []
    for curve in plot.curves:
        numbers = [(x, y) for x, y in zip(curve.x, curve.y, strict=True) if math.isfinite(y)]
        if numbers and curve.style != "faded":
            lowest, highest = min(y for _, y in numbers), max(y for _, y in numbers)
            said.append(ntr("{curve}: {n:,} point, from {first} to {last}; lowest {lowest}, highest {highest}.",
                            "{curve}: {n:,} points, from {first} to {last}; lowest {lowest}, highest {highest}.",
                            len(numbers), curve=curve.label, first=plot.form(numbers[0][1]),
                            last=plot.form(numbers[-1][1]), lowest=plot.form(lowest), highest=plot.form(highest)))
    return " ".join([*said, *(f"{label}: {plot.form(value)}." for label, value in plot.limits)])


@dataclass(frozen=True)
class _Scale:
    x_low: float
    x_high: float
    y_low: float
    y_high: float
    width: int

    @classmethod
    def around(cls, x: Sequence[float], y: Sequence[float], plot: Plot) -> _Scale:
        low, high, from_zero = min(y), max(y), plot.from_zero
        low = min(0.0, low) if from_zero else low
        room = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
        x_low, x_high = min(x), max(x)
        return cls(x_low, x_high if x_high > x_low else x_low + 1,
                   low if from_zero and low == 0 else low - room, high + room,
                   WIDE if plot.wide else NARROW)

    @property
    def right(self) -> int:
        return self.width - RIGHT

    def x(self, value: float) -> float:
        return LEFT + (value - self.x_low) / (self.x_high - self.x_low) * (self.right - LEFT)

    def y(self, value: float) -> float:
        return TOP + (self.y_high - value) / (self.y_high - self.y_low) * (HEIGHT - TOP - BOTTOM)


def _axes(plot: Plot, scale: _Scale) -> list[str]:
    base = HEIGHT - BOTTOM
    parts = []
    for value in ticks(scale.y_low, scale.y_high):
        y = scale.y(value)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{scale.right}"/>'
                     f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{_safe(plot.form(value))}</text>')
    for value in ticks(scale.x_low, scale.x_high, scale.width // 62):
        parts.append(f'<text x="{scale.x(value):.1f}" y="{base + 17}" text-anchor="middle">'
                     f"{_safe(plot.x_form(value))}</text>")
    parts.append(f'<path class="axis" d="M{LEFT} {base}H{scale.right}"/>')
    parts.append(f'<text x="{(LEFT + scale.right) / 2:.0f}" y="{HEIGHT - 6}" text-anchor="middle">'
                 f"{_safe(plot.x_label)}</text>")
    return parts


def _lines_across(plot: Plot, scale: _Scale) -> list[str]:
    parts = []
    for label, value in plot.limits:
        y = scale.y(value)
        parts.append(f'<path class="limit" d="M{LEFT} {y:.1f}H{scale.right}"/><text class="limit" x="{scale.right}"'
                     f' y="{y - 5:.1f}" text-anchor="end">{_safe(f"{label} {plot.form(value)}")}</text>')
    if plot.mark and scale.x_low <= plot.mark[1] <= scale.x_high:
        x = scale.x(plot.mark[1])
        side, shift = ("end", -6) if x > scale.width / 2 else ("start", 6)
        parts.append(f'<path class="mark" d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}"/><text x="{x + shift:.1f}" '
                     f'y="{TOP + 12}" text-anchor="{side}">{_safe(plot.mark[0])}</text>')
    return parts


def _line(curve: Curve, points: Points, scale: _Scale) -> str:
    pen_down, pieces, dots = False, list[str](), list[str]()
    for index, (x, y) in enumerate(points):
        if not math.isfinite(y):
            pen_down = False
            continue
        place = f"{scale.x(x):.1f} {scale.y(y):.1f}"
        pieces.append(("L" if pen_down else "M") + place)
        alone = not pen_down and (index + 1 == len(points) or not math.isfinite(points[index + 1][1]))
        if curve.dots or alone:
            dots.append(f'<circle cx="{scale.x(x):.1f}" cy="{scale.y(y):.1f}" r="3"/>')
        pen_down = True
    return f'<g class="c-{curve.style}"><path d="{"".join(pieces)}"/>{"".join(dots)}</g>'


def _safe(text: str) -> str:
    return escape(visible(text))
