"""Fields that a user types into, turns or chooses from.

The wheel scrolls the page they are on. It changes a field only while that has the keyboard focus: whoever scrolls past
must not change a setting without seeing it.
"""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any, TypeVar

from PySide6.QtCore import QEvent, QSignalBlocker, Qt, QTime, Signal
from PySide6.QtGui import QHelpEvent, QPaintEvent, QPalette, QWheelEvent
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractSpinBox,
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QLineEdit,
    QPlainTextEdit,
    QSlider,
    QSpinBox,
    QStyle,
    QStyleOptionComboBox,
    QStylePainter,
    QTimeEdit,
    QToolTip,
    QWidget,
)

from slmstudio.core.i18n import tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.labels import elided_apart, plain_tip, text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, fill, row_of

# -- How typed text is compared with what is searched.


def folded(text: str) -> str:
    """Text as a search compares it: composed and without case, so that typed and stored forms meet."""
    return unicodedata.normalize("NFC", text).casefold()


STYLE_MARGIN = 4
"""Pixels that the style leaves free at the sides of a box's text, together."""
_Box = TypeVar("_Box", bound=QAbstractSpinBox)
_Widget = TypeVar("_Widget", bound=QWidget)


def named(widget: _Widget, name: str, accessible: str = "", tip: str = "") -> _Widget:
    """Tell tests, screen readers and the mouse what a widget is, each as far as it is given."""
    widget.setObjectName(name)
    if accessible:
        widget.setAccessibleName(accessible)
    if tip:
        widget.setToolTip(tip)
    return widget


def keep_choice(widget: _Widget) -> _Widget:
    """Let `typed_values` find what is chosen in a combo box, a button that can be on, or a segmented control."""
    widget.setProperty("kept", True)
    return widget


Typed = dict[tuple[type[QWidget], str], Any]
"""By the class and the name of a field, what a user typed or chose there."""


def typed_values(page: QWidget) -> Typed:
    """What a user typed into fields with a name and nothing else holds yet, and what `keep_choice` asks for."""
    return {(type(each), name): value for each in page.findChildren(QWidget)
            if (name := each.objectName()) and not name.startswith("qt_") and (value := _value(each)) is not None}


def put_back(page: QWidget, values: Typed) -> None:
    """Fill the fields of a page; `values` loses what has found its field."""
    for kind, name in list(values):
        if (field := page.findChild(kind, name)) is not None:
            _fill(field, values.pop((kind, name)))


def _value(field: QWidget) -> Any:
    """None if it isn't to be kept."""
    if isinstance(field, QLineEdit) and field.isModified():
        return field.text()
    if isinstance(field, QPlainTextEdit) and field.document().isModified():
        return field.toPlainText()
    if not field.property("kept"):
        return None
    if isinstance(field, QComboBox):
        return field.currentData()
    if isinstance(field, QSpinBox):
        return field.value()
    return field.isChecked() if isinstance(field, QAbstractButton) else field.current()  # type: ignore[attr-defined]


def _fill(field: QWidget, value: Any) -> None:
    if isinstance(field, QLineEdit):
        field.setText(value)
        field.setModified(True)
    elif isinstance(field, QPlainTextEdit):
        field.setPlainText(value)
        field.document().setModified(True)
    elif isinstance(field, QComboBox):
        field.setCurrentIndex(max(0, field.findData(value)))
    elif isinstance(field, QAbstractButton):
        field.setChecked(value)
    elif isinstance(field, QSpinBox):
        field.setValue(value)
    else:
        field.set_current(value)  # type: ignore[attr-defined]


class _ScrollsPast:
    """Mixed into a field: leaves the wheel to the page unless the field has the focus, which the wheel never gives."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)  # type: ignore[attr-defined]

    def wheelEvent(self, event: QWheelEvent) -> None:
        if self.hasFocus():  # type: ignore[attr-defined]
            super().wheelEvent(event)  # type: ignore[misc]
        else:
            event.ignore()


class SpinBox(_ScrollsPast, QSpinBox):
    """A whole number."""


class DoubleSpinBox(_ScrollsPast, QDoubleSpinBox):
    """A number with decimals."""

    def textFromValue(self, value: float) -> str:
        """With the decimals that the value has, not those that it may have."""
        text, point = super().textFromValue(value), self.locale().decimalPoint()
        return text.rstrip("0").removesuffix(point) if point in text else text


class TimeEdit(_ScrollsPast, QTimeEdit):
    """A time of the day."""


class Slider(_ScrollsPast, QSlider):
    """A place on a line."""


SHORT_ROLE = Qt.ItemDataRole.UserRole + 1


class ComboBox(_ScrollsPast, QComboBox):
    """A choice from a list. A name without room loses its middle, and is the tooltip then: names of runs, models and
    files are told apart by their ends."""

    def add_path(self, text: str, path: Path, at: int | None = None) -> None:
        """Offer a file or a folder: its path is the data, and the tooltip; at the end, or in this place."""
        at = self.count() if at is None else at
        self.insertItem(at, text, str(path))
        self.setItemData(at, plain_tip(str(path)), Qt.ItemDataRole.ToolTipRole)

    def keep_narrow(self, letters: int) -> None:
        """Be as wide as so many letters at least, however long the names are."""
        self.setSizeAdjustPolicy(ComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(letters)

    def add_shortened(self, text: str, short: str, data: object, tip: str) -> None:
        """Offer a choice that is shown by its shorter text where the box has no room for it; its list has."""
        self.addItem(text, data)
        at = self.count() - 1
        self.setItemData(at, short, SHORT_ROLE)
        self.setItemData(at, plain_tip(tip), Qt.ItemDataRole.ToolTipRole)

    def showPopup(self) -> None:
        if self.currentData(SHORT_ROLE):
            self.view().setMinimumWidth(self.view().sizeHintForColumn(0) + 2 * theme.SPACE_L)
        super().showPopup()

    def _text(self) -> str:
        return self.currentText() if self.currentIndex() >= 0 else self.placeholderText()

    def shown_text(self) -> str:
        """What fits of the current text, or of the placeholder."""
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        place = self.style().subControlRect(QStyle.ComplexControl.CC_ComboBox, option,
                                            QStyle.SubControl.SC_ComboBoxEditField, self)
        letters, text = self.fontMetrics(), self._text()
        if letters.horizontalAdvance(text) <= place.width():
            return text
        text = self.currentData(SHORT_ROLE) or text
        others = (self.itemText(at) for at in range(self.count()))
        return elided_apart(text, others, letters, place.width() - STYLE_MARGIN)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter, option = QStylePainter(self), QStyleOptionComboBox()
        self.initStyleOption(option)
        option.currentText = self.shown_text()  # type: ignore[attr-defined]
        if self.currentIndex() < 0:
            palette = option.palette  # type: ignore[attr-defined]
            palette.setBrush(QPalette.ColorRole.ButtonText, palette.placeholderText())
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)

    def event(self, event: QEvent) -> bool:
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            whole = self._text()
            if self.shown_text() != whole:
                QToolTip.showText(event.globalPos(), plain_tip(whole), self)
                return True
        return super().event(event)


def number_field(box: _Box) -> _Box:
    """Give a spin box the room before its figure that other fields have; a style sheet's padding stops short of it."""
    box.lineEdit().setTextMargins(7, 0, 0, 0)
    return box


# -- From one time of the day to another, or all day.

USUAL = ("22:00", "06:00")
FORM = "HH:mm"


class HoursEdit(QWidget):
    """A box to tick, and two times that count while it is.

    Args:
        text: beside the box.
        in_one_line: the times are beside the text, not below it.

    Signals:
        edited(str): a user chose other hours: "22:00-06:00", or "" for all day.
    """

    edited = Signal(str)

    def __init__(self, text: str, *, in_one_line: bool = False):
        super().__init__()
        self.check = QCheckBox(text)
        self.start = self._time("start", tr("Start of the hours"))
        self.end = self._time("end", tr("End of the hours"))
        self.check.clicked.connect(self._changed)
        line = row_of(spacing=theme.SPACE_XS)
        if in_one_line:
            line.addWidget(self.check)
        fill(line, self.start, text_label(tr("to"), "small"), self.end, STRETCH)
        column = column_in(self, spacing=theme.SPACE_XS)
        if not in_one_line:
            column.addWidget(self.check)
        column.addLayout(line)
        self.set_value(None)

    def _time(self, name: str, accessible: str) -> TimeEdit:
        field = named(number_field(TimeEdit()), f"hours_{name}", accessible,
                      tr("By this machine's clock. The end may be on the next day."))
        field.setDisplayFormat(FORM)
        field.setKeyboardTracking(False)
        field.timeChanged.connect(self._changed)
        return field

    def value(self) -> str:
        """"22:00-06:00", or "" for all day."""
        if not self.check.isChecked():
            return ""
        return f"{self.start.time().toString(FORM)}-{self.end.time().toString(FORM)}"

    def set_value(self, value: str | None) -> None:
        """Show these hours; None or "" is all day, and keeps the times that are there."""
        times = value.split("-") if value else USUAL if self.start.time() == self.end.time() else ()
        for field, text in zip((self.start, self.end), times, strict=False):
            with QSignalBlocker(field):
                field.setTime(QTime.fromString(text, FORM))
        self.check.setChecked(bool(value))
        self._show_times()

    def set_editable(self, on: bool) -> None:
        """Let a user choose, or only look."""
        for widget in (self.check, self.start, self.end):
            widget.setEnabled(on)
            widget.setProperty("locked", not on)
            theme.restyle(widget)
        if on:
            self._show_times()

    def _show_times(self) -> None:
        for field in (self.start, self.end):
            field.setEnabled(self.check.isChecked() and self.check.isEnabled())

    def _changed(self) -> None:
        self._show_times()
        self.edited.emit(self.value())
