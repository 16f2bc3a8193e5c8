"""Buttons, rows of them, and a row in which one is on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from PySide6.QtCore import QEvent, QRectF, QSize, Qt, QTimer, Signal, SignalInstance
from PySide6.QtGui import QFontMetrics, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPalette, QResizeEvent
from PySide6.QtWidgets import (
    QAbstractButton,
    QBoxLayout,
    QButtonGroup,
    QFrame,
    QPushButton,
    QRadioButton,
    QSizePolicy,
    QToolButton,
    QWidget,
)
from shiboken6 import isValid

from slmstudio.core.i18n import tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.labels import breakable, show_text, text_label
from slmstudio.gui.common.widgets.layouts import column_of, row_in

# -- A card that is one of several choices: a click anywhere on it chooses it.


class _Radio(QRadioButton):
    """A radio button whose neighbours are in other frames.

    Signals:
        moved(int): an arrow key asks for the one before it (-1) or after it (1).
    """

    moved = Signal(int)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        step = {Qt.Key.Key_Up: -1, Qt.Key.Key_Left: -1, Qt.Key.Key_Down: 1, Qt.Key.Key_Right: 1}.get(
            Qt.Key(event.key()), 0)
        if step:
            self.moved.emit(step)
        else:
            super().keyPressEvent(event)


class ChoiceCard(QFrame):
    """A radio button with a title and a few words below it.

    Attributes:
        radio: what is on or off; a button group makes it one of several.
        column: takes more than the title and the words.
    """

    def __init__(self, name: str, tip: str):
        super().__init__()
        self.radio = _Radio()
        self.radio.setObjectName(name)
        self.radio.setToolTip(tip)
        self.radio.toggled.connect(self._show_state)
        self.title, self.text = text_label("", "strong", wrap=True), text_label("", "small", wrap=True)
        self.column = column_of(self.title, self.text, spacing=theme.SPACE_XS)
        row_in(self, (self.radio, 0, Qt.AlignmentFlag.AlignTop), (self.column, 1), margins=theme.SPACE_M)
        self._show_state(False)

    def describe(self, title: str, text: str) -> None:
        """Show these words; without `text`, the title alone."""
        self.title.setText(breakable(title))
        show_text(self.text, breakable(text))
        self.radio.setAccessibleName(title)
        self.radio.setAccessibleDescription(text)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if self.radio.isEnabled():
            self.radio.click()
            self.radio.setFocus(Qt.FocusReason.MouseFocusReason)

    def _show_state(self, on: bool) -> None:
        self.setProperty("choice", "on" if on else "true")
        theme.restyle(self)


# -- The sign on a button that what it began is still at work, where nothing else at that place says so.

AFTER_MS, TURN_MS = 200, 60
"""What ends sooner needs no sign; and the time between two of its pictures."""
HEIGHT, TURNS = 3, 20
_pressed: list[QAbstractButton] = []
"""The button whose press is being handled."""


def note_pressed(button: QAbstractButton | None) -> None:
    """Until the event loop comes round, work that begins was begun by this button."""
    if button is not None and isValid(button):
        _pressed[:] = [button]
        QTimer.singleShot(0, _pressed.clear)


def pressed_button() -> QAbstractButton | None:
    return _pressed[0] if _pressed and isValid(_pressed[0]) else None


def still_pressed(act: Callable[[Any], object]) -> Callable[[Any], None]:
    """What a dialog calls with its answer, as a part of what the button that is pressed now began."""
    button = pressed_button()

    def later(answer: Any) -> None:
        note_pressed(button)
        act(answer)

    return later


class BusySign(QWidget):
    """A line that runs along the bottom of a button. It comes after `AFTER_MS` and goes when nothing is at work."""

    def __init__(self, button: QAbstractButton, is_busy: Callable[[], bool]):
        super().__init__(button)
        self._is_busy, self._turn = is_busy, 0
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setAccessibleName(tr("In progress"))
        self.hide()
        self._timer = QTimer(self, interval=AFTER_MS, timeout=self._look)
        self._timer.start()

    def _look(self) -> None:
        if not self._is_busy():
            self._timer.stop()
            self.hide()
            self.deleteLater()
            return
        self._timer.setInterval(TURN_MS)
        button = self.parentWidget()
        self.setGeometry(theme.RADIUS, button.height() - HEIGHT - 1, button.width() - 2 * theme.RADIUS, HEIGHT)
        self._turn = (self._turn + 1) % TURNS
        self.show()
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self.parentWidget().palette().color(QPalette.ColorRole.ButtonText))
        third = self.width() / 3
        left, width = (0.0, 3 * third) if theme.THEME.still else (4 * third * self._turn / TURNS - third, third)
        painter.drawRoundedRect(QRectF(left, 0, width, HEIGHT), HEIGHT / 2, HEIGHT / 2)


ICON_SIZE = 16
Slot = Callable[..., object] | SignalInstance


class PrimaryButton(QPushButton):
    """The one thing to do next in a view. There is at most one of them."""

    def __init__(self, text: str = "", tooltip: str = "", *, name: str = "", clicked: Slot | None = None):
        super().__init__(text)
        self.setProperty("kind", "primary")
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        _set_up(self, tooltip, name, clicked)


def set_primary(button: QPushButton, on: bool) -> None:
    """Let another button of the view be the one thing to do next, or this one."""
    button.setProperty("kind", "primary" if on else "plain")
    theme.restyle(button)


class SecondaryButton(QPushButton):
    """Any other button.

    Args:
        kind: "plain", "danger" (what it does can't be undone) or "small" (inside a list or a card's header).
    """

    def __init__(self, text: str = "", tooltip: str = "", kind: str = "plain", *, name: str = "",
                 clicked: Slot | None = None):
        super().__init__(text)
        self.setProperty("kind", kind)
        _set_up(self, tooltip, name, clicked)


class ButtonRow(QWidget):
    """Buttons side by side, or one below another where a language's words are too long for that."""

    def __init__(self) -> None:
        super().__init__()
        self.box = QBoxLayout(QBoxLayout.Direction.LeftToRight, self)
        self.box.setContentsMargins(0, 0, 0, 0)
        self.box.setSpacing(theme.SPACE_S)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._choose()

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.LayoutRequest:  # a button was shown, hidden or given other words
            self._choose()
        return super().event(event)

    def minimumSizeHint(self) -> QSize:
        """As narrow as its widest button: it can be in a column."""
        widest = max((each.sizeHint().width() for each in self._shown()), default=0)
        return QSize(widest, super().minimumSizeHint().height())

    def _choose(self) -> None:
        shown = self._shown()
        needed = sum(each.sizeHint().width() for each in shown) + self.box.spacing() * max(len(shown) - 1, 0)
        fits = QBoxLayout.Direction.LeftToRight if needed <= self.width() else QBoxLayout.Direction.TopToBottom
        if self.box.direction() != fits:
            self.box.setDirection(fits)

    def _shown(self) -> list[QWidget]:
        """Those that take room: some keep it while they are hidden."""
        items = (self.box.itemAt(place).widget() for place in range(self.box.count()))
        return [each for each in items if each is not None
                and (not each.isHidden() or each.sizePolicy().retainSizeWhenHidden())]


class IconButton(QToolButton):
    """A button that is only a drawing; its tooltip is its name for those who can't see it."""

    def __init__(self, icon: str, tooltip: str, *, size: int = ICON_SIZE, name: str = "", clicked: Slot | None = None):
        super().__init__()
        self._icon = icon
        self.setAccessibleName(tooltip)
        _set_up(self, tooltip, name, clicked)
        theme.grow(self, "set_icon_size", size)
        self.setAutoRaise(True)
        self._paint()
        theme.THEME.changed.connect(self._paint)

    def set_icon_size(self, size: int) -> None:
        self.setIconSize(QSize(size, size))

    def _paint(self) -> None:
        self.setIcon(theme.icon(self._icon))


class SegmentedControl(QFrame):
    """A row of choices, one of which is on. Arrow keys move between them.

    Signals:
        changed(int): another one is on, by the user's hand or by `set_current`.
    """

    changed = Signal(int)
    PADDING = 11

    def __init__(self, labels: Sequence[str], *, tooltips: Sequence[str] = (), name: str = ""):
        super().__init__()
        self.setObjectName(name)
        self.setProperty("segmented", True)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        row = row_in(self, spacing=0, margins=1)
        self._group = QButtonGroup(self)
        for index, label in enumerate(labels):
            button = QPushButton(label)
            button.setCheckable(True)
            button.setChecked(index == 0)
            button.setProperty("segment", _place(index, len(labels)))
            button.setAccessibleName(label)
            if index < len(tooltips):
                button.setToolTip(tooltips[index])
            # The one that is on is bold; all are as wide as that, so that nothing moves or is cut.
            bold = QFontMetrics(theme.base_font(bold=True)).horizontalAdvance(label)
            theme.grow(button, "setFixedWidth", round(bold / theme.THEME.scale) + 2 * self.PADDING)
            self._group.addButton(button, index)
            row.addWidget(button)
        self._group.idToggled.connect(lambda index, on: self.changed.emit(index) if on else None)

    def current(self) -> int:
        return self._group.checkedId()

    def set_current(self, index: int) -> None:
        self._group.button(index).setChecked(True)

    def button(self, index: int) -> QAbstractButton:
        return self._group.button(index)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        step = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}.get(Qt.Key(event.key()), 0)
        if not step:
            super().keyPressEvent(event)
            return
        target = self._group.button((self.current() + step) % len(self._group.buttons()))
        target.setChecked(True)
        target.setFocus(Qt.FocusReason.OtherFocusReason)


def _set_up(button: QAbstractButton, tooltip: str, name: str, clicked: Slot | None) -> None:
    button.setToolTip(tooltip)
    button.setObjectName(name)
    button.clicked.connect(lambda: note_pressed(button))  # before what it begins
    if clicked is not None:
        button.clicked.connect(clicked)


def keep_room(widget: QWidget, on: bool = True) -> None:
    """Keep the room of a widget while it is hidden, so that nothing else moves to where a user may just press."""
    policy = widget.sizePolicy()
    policy.setRetainSizeWhenHidden(on)
    widget.setSizePolicy(policy)


def _place(index: int, count: int) -> str:
    if count == 1:
        return "only"
    return "first" if index == 0 else "last" if index == count - 1 else "middle"
