"""How well one colour stands out from another: WCAG 2.2."""

from __future__ import annotations

from typing import Any

import numpy as np
from PySide6.QtGui import QColor

TEXT, SHAPE = 4.5, 3.0
"""The contrast that it asks for: of text (1.4.3), and of what shows a state (1.4.11)."""


def luminance(rgb: Any) -> Any:
    """Relative luminance of colours, of shape (..., 3), from 0 to 1."""
    part = np.asarray(rgb)
    return np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4) @ np.array([0.2126, 0.7152, 0.0722])


def contrast(one: Any, other: Any) -> Any:
    """Of two luminances, from 1 to 21."""
    return (np.maximum(one, other) + 0.05) / (np.minimum(one, other) + 0.05)


def of_colours(one: str | QColor, other: str | QColor) -> float:
    """The contrast of two colours."""
    return float(contrast(*(luminance(QColor(each).getRgbF()[:3]) for each in (one, other))))
