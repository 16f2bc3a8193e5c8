"""Rows and columns that fill a widget without a margin: what is around it has one."""

from __future__ import annotations

from typing import TypeVar

from PySide6.QtWidgets import QBoxLayout, QHBoxLayout, QVBoxLayout, QWidget

_Layout = TypeVar("_Layout", bound=QBoxLayout)


def row_in(widget: QWidget, spacing: int | None = None) -> QHBoxLayout:
    """
    Args:
        spacing: pixels between what is in it; None for the style's own.
    """
    return _bare(QHBoxLayout(widget), spacing)


def column_in(widget: QWidget, spacing: int | None = None) -> QVBoxLayout:
    """As `row_in`, from top to bottom."""
    return _bare(QVBoxLayout(widget), spacing)


def _bare(layout: _Layout, spacing: int | None) -> _Layout:
    layout.setContentsMargins(0, 0, 0, 0)
    if spacing is not None:
        layout.setSpacing(spacing)
    return layout
