"""The small marks before the steps, drawn with soft edges: Tk's own lines have none on X11."""

from __future__ import annotations

import itertools
import math
import tkinter as tk
from collections.abc import Callable

TURNS = 12
"""Pictures of the mark of a running step; shown one after another, they turn."""
Distance = Callable[[float, float], float]


def draw(root: tk.Misc, size: int, colours: dict[str, str]) -> dict[str, list[tk.PhotoImage]]:
    """Pictures by the state of a step, on the colour "card".

    Args:
        size: of a side, in pixels.
    """
    width = size / 9
    ring = _arc(size, width, 0, math.tau)
    tick = _lines(size, width, (0.18, 0.53), (0.41, 0.76), (0.82, 0.27))
    cross = _either(_lines(size, width, (0.25, 0.25), (0.75, 0.75)), _lines(size, width, (0.75, 0.25), (0.25, 0.75)))
    dash = _lines(size, width, (0.22, 0.5), (0.78, 0.5))
    turning = [_arc(size, width, turn * math.tau / TURNS, math.tau * 0.72) for turn in range(TURNS)]
    kinds: dict[str, tuple[list[Distance], str]] = {
        "waiting": ([ring], "edge"), "working": (turning, "accent"), "done": ([tick], "ok"),
        "failed": ([cross], "bad"), "stopped": ([dash], "muted")}
    return {state: [_picture(root, size, shape, colours[colour], colours["card"]) for shape in shapes]
            for state, (shapes, colour) in kinds.items()}


def _picture(root: tk.Misc, size: int, shape: Distance, ink: str, ground: str) -> tk.PhotoImage:
    """A pixel is inked as far as the shape covers it; `shape` is the distance to its edge, negative inside."""
    over, under = _rgb(ink), _rgb(ground)
    rows = []
    for y in range(size):
        row = []
        for x in range(size):
            cover = min(1.0, max(0.0, 0.5 - shape(x + 0.5, y + 0.5)))
            row.append("#{:02x}{:02x}{:02x}".format(*(round(u + (o - u) * cover)
                                                      for o, u in zip(over, under, strict=True))))
        rows.append("{" + " ".join(row) + "}")
    picture = tk.PhotoImage(master=root, width=size, height=size)
    picture.put(" ".join(rows))
    return picture


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _arc(size: int, width: float, start: float, length: float) -> Distance:
    middle, radius = size / 2, size / 2 - width / 2 - 1.5
    ends = [(middle + radius * math.cos(a), middle + radius * math.sin(a)) for a in (start, start + length)]

    def distance(x: float, y: float) -> float:
        if (math.atan2(y - middle, x - middle) - start) % math.tau <= length:
            return abs(math.hypot(x - middle, y - middle) - radius) - width / 2
        return min(math.hypot(x - ex, y - ey) for ex, ey in ends) - width / 2

    return distance


def _lines(size: int, width: float, *points: tuple[float, float]) -> Distance:
    """A line through points whose coordinates are shares of the side."""
    scaled = [(x * size, y * size) for x, y in points]

    def distance(x: float, y: float) -> float:
        return min(_to_line(x, y, a, b) for a, b in itertools.pairwise(scaled)) - width / 2

    return distance


def _to_line(x: float, y: float, a: tuple[float, float], b: tuple[float, float]) -> float:
    dx, dy = b[0] - a[0], b[1] - a[1]
    along = min(1.0, max(0.0, ((x - a[0]) * dx + (y - a[1]) * dy) / (dx * dx + dy * dy)))
    return math.hypot(x - a[0] - along * dx, y - a[1] - along * dy)


def _either(one: Distance, other: Distance) -> Distance:
    return lambda x, y: min(one(x, y), other(x, y))
