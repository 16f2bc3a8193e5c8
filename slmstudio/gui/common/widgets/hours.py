"""From one time of the day to another, or all day."""

from __future__ import annotations

from PySide6.QtCore import QSignalBlocker, QTime, Signal
from PySide6.QtWidgets import QCheckBox, QWidget

from slmstudio.core.i18n import tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.fields import TimeEdit, named, number_field
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, fill, row_of

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
