"""Keys that do what a button does."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QWidget


def add_key(widget: QWidget, keys: QKeySequence.StandardKey | str, slot: Callable[[], object], *,
            inside: bool = False) -> None:
    """Call `slot` when `keys` are pressed in the window.

    Args:
        inside: only while `widget`, or something in it, has the focus.
    """
    shortcut = QShortcut(QKeySequence(keys), widget)
    if inside:
        shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
    shortcut.activated.connect(slot)
