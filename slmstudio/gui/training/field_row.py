"""One field of the plan: its label, editor, the reason for its value, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QFocusEvent
from PySide6.QtWidgets import QCheckBox, QLineEdit, QPlainTextEdit, QWidget

from slmstudio.core.i18n import tr
from slmstudio.core.run.config import FIELDS, RunConfig
from slmstudio.core.run.run_fields import VARIANTS, Choice, DayHours, Lines, Switch, write
from slmstudio.gui.common import theme
from slmstudio.gui.common.run_texts import FIXED, MEANINGS, choice_label, label, variant, variant_label
from slmstudio.gui.common.widgets.buttons import IconButton
from slmstudio.gui.common.widgets.fields import ComboBox, HoursEdit
from slmstudio.gui.common.widgets.figures import MeaningButton
from slmstudio.gui.common.widgets.labels import ElidedLabel, show_text, text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, fill, row_of

LINES = 4
"""Height of an editor that takes one per line."""
MEANING_HEIGHT = 18
"""The height of a button beside a label. A label without one is as high, so that neighbouring fields line up."""


class _Choice(ComboBox):
    """A combo box that the page's scrolling can't change."""

    def __init__(self, name: str, values: Sequence[str]):
        super().__init__()
        self._name = name
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizeAdjustPolicy(ComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(6)
        self.set_values(values)

    def set_values(self, values: Sequence[str]) -> None:
        self.clear()
        for value in values:
            self.addItem(choice_label(self._name, value), value)

    def show_value(self, value: str, text: str) -> None:
        """Show a value, also one that isn't among the choices."""
        if self.findData(value) < 0:
            self.addItem(text, value)
        self.setCurrentIndex(self.findData(value))


class _Lines(QPlainTextEdit):
    """Several lines of text.

    Signals:
        finished: the user has changed the text and gone elsewhere.
    """

    finished = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setTabChangesFocus(True)
        self.setFixedHeight(LINES * self.fontMetrics().lineSpacing() + 2 * theme.SPACE_M)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        if self.document().isModified():
            self.document().setModified(False)
            self.finished.emit()


class FieldRow(QWidget):
    """One field: label, editor, the reason for its value, and what is wrong with it.

    Signals:
        edited(name, text or bool): the user decided another value.
        reset(name): let the plan decide again.
    """

    edited = Signal(str, object)
    reset = Signal(str)

    def __init__(self, name: str, help_text: str, parent: QWidget | None = None):
        super().__init__(parent)
        self.name = name
        # Two fields in one line, each with its button to reset it, would be wider than the card.
        self.label = ElidedLabel(label(name), "small", Qt.TextElideMode.ElideRight)
        self.reason = text_label("", "small", wrap=True, tone="faint")
        self.problem = text_label("", "small", wrap=True, tone="bad")
        self.problem.hide()
        self._reset = IconButton("undo", tr("Let the plan decide this again"), name=f"reset_{name}",
                                 clicked=lambda: self.reset.emit(self.name))
        self._reset.hide()
        self.editor = self._make_editor()
        self.editor.setObjectName(f"field_{name}")
        self.editor.setAccessibleName(label(name))
        for each in (self, self.editor):
            each.setToolTip(help_text)
        self._lay_out()

    def _lay_out(self) -> None:
        head = row_of(self.label, spacing=theme.SPACE_XS)
        if self.name in MEANINGS:
            head.addWidget(MeaningButton(*MEANINGS[self.name]))
        theme.grow(self.label, "setMinimumHeight", MEANING_HEIGHT)
        fill(head, STRETCH, self._reset)
        column = column_in(self, spacing=2)
        if not isinstance(self.editor, QCheckBox | HoursEdit):
            fill(column, head, self.editor)
        else:
            self.label.setParent(self)
            self.label.hide()
            column.addLayout(row_of((self.editor, 1), (self._reset, 0, Qt.AlignmentFlag.AlignTop), spacing=None))
        fill(column, self.problem, self.reason)

    def _make_editor(self) -> QWidget:
        if self.name in FIXED:
            return ElidedLabel()
        kind = FIELDS[self.name].kind
        if isinstance(kind, Choice):
            box = _Choice(self.name, list(VARIANTS if self.name == "method" else kind.words))
            box.activated.connect(lambda: self.edited.emit(self.name, box.currentData()))
            return box
        if isinstance(kind, Lines):
            lines = _Lines()
            lines.setPlaceholderText(tr("Empty: uses eval rows"))
            lines.finished.connect(lambda: self.edited.emit(self.name, lines.toPlainText()))
            return lines
        if isinstance(kind, Switch):
            check = QCheckBox(label(self.name))
            check.clicked.connect(lambda on: self.edited.emit(self.name, on))
            return check
        if isinstance(kind, DayHours):
            hours = HoursEdit(label(self.name))
            hours.edited.connect(lambda value: self.edited.emit(self.name, value))
            return hours
        line = QLineEdit()
        line.setPlaceholderText(tr("automatic") if self.name == "heat_limit_c" else "")
        line.editingFinished.connect(self._finished)
        return line

    def _finished(self) -> None:
        assert isinstance(self.editor, QLineEdit)
        if self.editor.isModified():
            self.editor.setModified(False)
            self.edited.emit(self.name, self.editor.text())

    def set_choices(self, values: Sequence[str]) -> None:
        """Offer these values only, of a field that holds one of a few words."""
        assert isinstance(self.editor, _Choice)
        now = self.editor.currentData()
        self.editor.set_values(values)
        self.editor.setCurrentIndex(self.editor.findData(now))

    def show_config(self, config: RunConfig, reason: str, changed: bool) -> None:
        """Show what the plan holds now.

        Args:
            changed: whether the user decided it; then it can be given back to the plan.
        """
        editor, value = self.editor, getattr(config, self.name)
        if isinstance(editor, _Choice) and self.name == "method":
            editor.set_values(list(VARIANTS))
            editor.show_value(variant(config), variant_label(config))
        elif isinstance(editor, _Choice):
            editor.show_value(value, choice_label(self.name, value))
        elif isinstance(editor, QCheckBox):
            editor.setChecked(bool(value))
        elif isinstance(editor, HoursEdit):
            editor.set_value(value)
        elif isinstance(editor, QPlainTextEdit):
            if not editor.document().isModified() and editor.toPlainText() != "\n".join(value):
                editor.setPlainText("\n".join(value))
        elif isinstance(editor, QLineEdit):
            if not (editor.isModified() and editor.hasFocus()):  # somebody is typing into it
                editor.setText(write(value))
                editor.setCursorPosition(0)
        elif isinstance(editor, ElidedLabel):
            editor.setText(write(value) or tr("split off from the training rows"))
        self.reason.setText(reason)
        self._reset.setVisible(changed)
        self.show_problem("")

    def show_typed(self, text: str) -> None:
        """Show what the user typed, which isn't a value of the field."""
        if isinstance(self.editor, QLineEdit) and not self.editor.isModified():
            self.editor.setText(text)

    def show_problem(self, text: str) -> None:
        show_text(self.problem, text)
        if text:
            self.reason.hide()
        theme.set_state(self.editor, "invalid", bool(text))

    def set_editable(self, on: bool) -> None:
        if isinstance(self.editor, QLineEdit | QPlainTextEdit):
            self.editor.setReadOnly(not on)
        elif isinstance(self.editor, HoursEdit):
            self.editor.set_editable(on)
        elif not isinstance(self.editor, ElidedLabel):
            self.editor.setEnabled(on)
        theme.set_state(self.editor, "locked", not on)
        self._reset.setEnabled(on)
