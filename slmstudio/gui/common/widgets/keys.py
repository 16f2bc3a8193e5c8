"""Keys that do what a button does, and where they go when that button is gone."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QEvent, QObject, Qt
from PySide6.QtGui import QKeyEvent, QKeySequence, QShortcut
from PySide6.QtWidgets import QApplication, QPushButton, QToolButton, QWidget
from shiboken6 import isValid

from slmstudio.gui.common import theme


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


SHOWN = "keys"
"""The property by which the style sheet knows that the focus is to be shown: the keys brought it, not the mouse."""


class FocusedButton(QObject):
    """Enter presses the button that has the focus, as Space does. Qt does so in dialogs only. And a button whose press
    can't be undone gets the focus from a person alone: when a control goes, Qt gives the focus to its neighbour. Last,
    it says where the focus is to be shown.

    It looks at the keys of that one button alone: a filter on the whole program would run Python for every event.
    """

    def __init__(self, app: QApplication):
        super().__init__(app)
        self._button: QWidget | None = None
        app.focusChanged.connect(self._focus_moved)

    def _focus_moved(self, old: QWidget | None, now: QWidget | None) -> None:
        if now is not None and is_destructive(now) and old is not None and not (
                isValid(old) and old.isVisible() and old.isEnabled()):
            _focus_after(now)
            return
        if now is not None:
            _show_focus(old, now)
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
    """Make Enter press the focused button everywhere in the program, and see `FocusedButton`."""
    if app.findChild(FocusedButton) is None:
        FocusedButton(app)


def _show_focus(old: QWidget | None, now: QWidget) -> None:
    """Show the focus where the keys have brought it; a click shows by itself what it hit."""
    shown, before = now.property(SHOWN), old.property(SHOWN) if old is not None and isValid(old) else True
    if QApplication.mouseButtons() != Qt.MouseButton.NoButton:
        shown = False
    elif old is None or not isValid(old) or old.window() is not now.window():  # a menu or a dialog came, or has gone
        shown = before if shown is None else shown
    else:
        # Where it has just gone or been disabled, the focus fell here by itself.
        shown = (old.isVisible() and old.isEnabled()) or before
    if shown != now.property(SHOWN):
        now.setProperty(SHOWN, bool(shown))
        theme.restyle(now)


def is_destructive(widget: QWidget) -> bool:
    """Whether pressing it ends or loses something."""
    return widget.property("kind") == "danger"


def _focus_after(widget: QWidget) -> None:
    """Give the focus to the next control that the Tab key leads to and that destroys nothing."""
    each = widget.nextInFocusChain()
    while each is not widget:
        tab = each.focusPolicy() & Qt.FocusPolicy.TabFocus
        if tab == Qt.FocusPolicy.TabFocus and each.isVisible() and each.isEnabled() and not is_destructive(each) and (
                each.window() is widget.window()):
            each.setFocus(Qt.FocusReason.OtherFocusReason)
            return
        each = each.nextInFocusChain()
    widget.clearFocus()
