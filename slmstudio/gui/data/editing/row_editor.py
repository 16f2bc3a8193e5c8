"""Edits one row: a box for each text in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Signal
from PySide6.QtGui import QFontMetrics
from PySide6.QtWidgets import QPlainTextEdit, QScrollArea

from slmstudio.core.data.versions import edits
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.areas import Card, plain_page
from slmstudio.gui.common.widgets.banner import ErrorBanner
from slmstudio.gui.common.widgets.buttons import PrimaryButton, SecondaryButton
from slmstudio.gui.common.widgets.fields import named
from slmstudio.gui.common.widgets.keys import add_key
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.layouts import column_in, fill, row_of

if TYPE_CHECKING:
    from slmstudio.core.data.record import Record

LINES = {"user": 3, "system": 2}
USUAL_LINES = 6


class RowEditor(Card):
    """Shows the texts of a row to be written differently.

    Signals:
        saved(Record): the row as it is now.
        closed: the user is done, or gave up.
    """

    saved = Signal(object)
    closed = Signal()

    def __init__(self) -> None:
        super().__init__(" ")
        self._record: Record | None = None
        self.fields: list[QPlainTextEdit] = []
        self.banner = ErrorBanner()
        self._area = QScrollArea()
        self._area.setWidgetResizable(True)
        fill(self.body, self.banner, (self._area, 1))
        self.save = PrimaryButton(tr("Save row"),
                                  tr("Keep the row like this until you save a new version (Ctrl+Enter)."),
                                  name="editor_save", clicked=self._save)
        cancel = SecondaryButton(tr("Cancel"), tr("Leave the row as it was (Esc)."), name="editor_cancel",
                                 clicked=self.closed)
        self.body.addLayout(row_of((text_label(tr("Your file is never changed."), "small"), 1), cancel, self.save))
        add_key(self, "Escape", self.closed.emit, inside=True)
        for keys in ("Ctrl+Return", "Ctrl+Enter"):
            add_key(self, keys, self._save, inside=True)

    def open_record(self, record: Record, title: str) -> None:
        """Edit this row."""
        self._record = record
        self.title.setText(title)
        self.banner.clear()
        names = {"user": tr("User"), "assistant": tr("Assistant"), "system": tr("System"),
                 "tool": tr("Tool"), edits.TEXT: tr("Text"), edits.REJECTED: tr("Rejected answer")}
        holder = plain_page()
        column = column_in(holder, spacing=theme.SPACE_XS, margins=(theme.FOCUS_RING, 0, theme.SPACE_S, 0))
        self.fields = []
        for role, text in edits.texts_of(record):
            field = named(QPlainTextEdit(text), f"editor_{len(self.fields)}", names.get(role, role),
                          tr("What this message says, in any script."))
            field.setTabChangesFocus(True)
            lines = QFontMetrics(field.font()).lineSpacing() * LINES.get(role, USUAL_LINES)
            field.setMinimumHeight(lines + 2 * theme.SPACE_L)
            fill(column, text_label(names.get(role, role), "section"), (field, LINES.get(role, USUAL_LINES)),
                 theme.SPACE_S)
            self.fields.append(field)
        self._area.setWidget(holder)
        if self.fields:
            self.fields[0].setFocus()

    def _save(self) -> None:
        assert self._record is not None
        try:
            record = edits.with_texts(self._record, [field.toPlainText() for field in self.fields])
        except UserError as error:
            self.banner.show_error(error)
            return
        self.saved.emit(record)
        self.closed.emit()
