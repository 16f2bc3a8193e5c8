"""Rows and columns of widgets, written as what is in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from PySide6.QtWidgets import QBoxLayout, QGridLayout, QHBoxLayout, QLayout, QStackedWidget, QVBoxLayout, QWidget

from slmstudio.gui.common import theme

STRETCH = "stretch"
"""The room that is left."""
Margins = int | tuple[int, int, int, int] | None
"""Around all parts, or at the left, the top, the right and the bottom; None takes the style's own."""
Part = QWidget | QLayout | tuple[Any, ...] | int | str
"""A widget or a layout, alone or as (it, its share of the room, its alignment); pixels that stay empty; or STRETCH."""
_Layout = TypeVar("_Layout", bound=QBoxLayout)


def row_of(*parts: Part, spacing: int | None = theme.SPACE_S) -> QHBoxLayout:
    """Side by side.

    Args:
        spacing: pixels between the parts; None takes those of the layout around it, or the style's own.
    """
    return _filled(QHBoxLayout(), parts, spacing)


def column_of(*parts: Part, spacing: int | None = theme.SPACE_S) -> QVBoxLayout:
    """As `row_of`, from top to bottom."""
    return _filled(QVBoxLayout(), parts, spacing)


def row_in(widget: QWidget, *parts: Part, spacing: int | None = theme.SPACE_S, margins: Margins = 0) -> QHBoxLayout:
    """Side by side, filling a widget."""
    return _filled(_with_margins(QHBoxLayout(widget), margins), parts, spacing)


def column_in(widget: QWidget, *parts: Part, spacing: int | None = theme.SPACE_S, margins: Margins = 0) -> QVBoxLayout:
    """As `row_in`, from top to bottom."""
    return _filled(_with_margins(QVBoxLayout(widget), margins), parts, spacing)


def row_widget(*parts: Part, spacing: int | None = theme.SPACE_S, margins: Margins = 0) -> QWidget:
    """Side by side, as one widget."""
    widget = QWidget()
    row_in(widget, *parts, spacing=spacing, margins=margins)
    return widget


def column_widget(*parts: Part, spacing: int | None = theme.SPACE_S, margins: Margins = 0) -> QWidget:
    """As `row_widget`, from top to bottom."""
    widget = QWidget()
    column_in(widget, *parts, spacing=spacing, margins=margins)
    return widget


def fill(layout: _Layout, *parts: Part) -> _Layout:
    """Add parts to a row or a column that is already there."""
    for part in parts:
        if isinstance(part, str):
            layout.addStretch(1)
        elif isinstance(part, int):
            layout.addSpacing(part)
        else:
            item, *how = part if isinstance(part, tuple) else (part,)
            add = layout.addLayout if isinstance(item, QLayout) else layout.addWidget
            add(item, *how)
    return layout


def grid_of(across: int, down: int, stretch: int | None = None) -> QGridLayout:
    """An empty grid.

    Args:
        across, down: pixels between its columns, and between its rows.
        stretch: the column that takes the room that is left.
    """
    return _spaced(QGridLayout(), across, down, stretch)


def grid_in(widget: QWidget, across: int, down: int, stretch: int | None = None) -> QGridLayout:
    """As `grid_of`, filling a widget without a margin."""
    grid = _spaced(QGridLayout(widget), across, down, stretch)
    grid.setContentsMargins(0, 0, 0, 0)
    return grid


def pages_of(*pages: QWidget) -> QStackedWidget:
    """Pages, one of which is shown: the first, to begin with."""
    stack = QStackedWidget()
    for page in pages:
        stack.addWidget(page)
    return stack


def clear(layout: QLayout) -> None:
    """Take out all parts, and end the widgets among them."""
    while (item := layout.takeAt(0)) is not None:
        if (widget := item.widget()) is not None:
            widget.hide()
            widget.deleteLater()


def _spaced(grid: QGridLayout, across: int, down: int, stretch: int | None) -> QGridLayout:
    grid.setHorizontalSpacing(across)
    grid.setVerticalSpacing(down)
    if stretch is not None:
        grid.setColumnStretch(stretch, 1)
    return grid


def _with_margins(layout: _Layout, margins: Margins) -> _Layout:
    if margins is not None:
        layout.setContentsMargins(*([margins] * 4 if isinstance(margins, int) else margins))
    return layout


def _filled(layout: _Layout, parts: Sequence[Part], spacing: int | None) -> _Layout:
    if spacing is not None:
        layout.setSpacing(spacing)
    return fill(layout, *parts)
