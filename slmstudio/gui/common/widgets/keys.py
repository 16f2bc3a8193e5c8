"""Keys that do what a button does."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QEvent, QObject, Qt
from PySide6.QtGui import QKeyEvent, QKeySequence, QShortcut
from PySide6.QtWidgets import QApplication, QPushButton, QToolButton, QWidget
from shiboken6 import isValid


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


class EnterPresses(QObject):
    """Enter presses the button that has the focus, as Space does. Qt does so in dialogs only.

    It looks at the keys of that one button alone: a filter on the whole program would run Python for every event.
    """

    def __init__(self, app: QApplication):
        super().__init__(app)
        self._button: QWidget | None = None
        app.focusChanged.connect(self._focus_moved)

    def _focus_moved(self, _old: QWidget | None, now: QWidget | None) -> None:
        if self._button is not None and isValid(self._button):
            self._button.removeEventFilter(self)
        self._button = now if isinstance(now, QPushButton | QToolButton) else None
        if self._button is not None:
            self._button.installEventFilter(self)

    def eventFilter(self, button: QObject, event: QEvent) -> bool:
        if not (isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress and (
                event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter))):
            return False
        plain = event.modifiers() in (Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.KeypadModifier)
        if plain and not event.isAutoRepeat() and isinstance(button, QPushButton | QToolButton):
            button.click()
        return plain


def let_enter_press(app: QApplication) -> None:
    """Make Enter press the focused button everywhere in the program."""
    if app.findChild(EnterPresses) is None:
        EnterPresses(app)
