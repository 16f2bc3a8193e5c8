"""Fields for figures."""

from __future__ import annotations

from typing import TypeVar

from PySide6.QtWidgets import QAbstractSpinBox

_Box = TypeVar("_Box", bound=QAbstractSpinBox)


def number_field(box: _Box) -> _Box:
    """Give a spin box the room before its figure that other fields have; a style sheet's padding stops short of it."""
    box.lineEdit().setTextMargins(7, 0, 0, 0)
    return box
