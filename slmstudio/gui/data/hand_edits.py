"""Rows that are deleted, edited and added by hand, gathered until they are written as a new version."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QFontMetrics
from PySide6.QtWidgets import QMessageBox, QPlainTextEdit, QScrollArea, QWidget

from slmstudio.core.data.versions import edits
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import ntr, tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.dialogs import question
from slmstudio.gui.common.tasks import run_task
from slmstudio.gui.common.widgets.areas import Card, NoteBar, plain_page
from slmstudio.gui.common.widgets.banner import ErrorBanner, report_error
from slmstudio.gui.common.widgets.buttons import SecondaryButton
from slmstudio.gui.common.widgets.fields import named
from slmstudio.gui.common.widgets.keys import add_key
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.layouts import column_in, fill, row_of
from slmstudio.gui.data.health import work
from slmstudio.gui.data.rows_card import RowsCard

if TYPE_CHECKING:
    from slmstudio.core.data.reader import Dataset
    from slmstudio.core.data.record import Record
    from slmstudio.core.data.versions.edits import Edits
    from slmstudio.gui.data.recent import DataEntry


def may_drop(parent: QWidget, entries: Sequence[DataEntry]) -> bool:
    """Whether these may be closed: nothing in them is unsaved, or the user agrees to drop it."""
    unwritten = {entry.dataset.name: len(entry.changes) for entry in entries if entry.changes}
    if not unwritten:
        return True
    box = question(parent, tr("Unsaved changes"),
                   ntr("{n:,} change to {name} isn't saved.", "{n:,} changes to {name} aren't saved.",
                       sum(unwritten.values()), name=", ".join(unwritten)),
                   tr("To keep them, cancel and press “Save a new version”."))
    drop = box.addButton(tr("Discard changes"), QMessageBox.ButtonRole.DestructiveRole)
    drop.setObjectName("drop_changes")
    box.setDefaultButton(box.addButton(QMessageBox.StandardButton.Cancel))
    box.exec()
    return box.clickedButton() is drop


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
        self.save = SecondaryButton(tr("Save row"),
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


class HandEdits(QObject):
    """Keeps the changes with the entry, and shows the rows with them.

    Signals:
        editing: a row is open in the editor.
        written(DataEntry, Dataset): the changes are a new version now.
    """

    editing = Signal()
    written = Signal(object, object)

    def __init__(self, rows: RowsCard, editor: RowEditor, parent: QObject):
        super().__init__(parent)
        self._rows, self._editor = rows, editor
        self._entry: DataEntry | None = None
        self._keys: Sequence[int] = ()
        self._records: Sequence[Record] = ()
        self._key: int | None = None
        self._only: Sequence[int] | None = None  # the filter after the last change, and the rows that it began with
        self._only_keys: list[int] = []
        self._writing: DataEntry | None = None
        self.undo = SecondaryButton(tr("Undo"), tr("Undo the last change (Ctrl+Z)."), "small", name="changes_undo",
                                    clicked=self._undo)
        self.write = SecondaryButton(tr("Save a new version"),
                                     tr("Save all rows with these changes in a new file, and open it. Your file isn't "
                                        "changed."), "small", name="changes_write", clicked=self._write)
        self.bar = NoteBar("changes_text", "warn", (self.undo, self.write))
        rows.edit_wanted.connect(self._open)
        rows.delete_wanted.connect(self._delete)
        rows.new_wanted.connect(self._open_new)
        editor.saved.connect(self._saved)

    def show_entry(self, entry: DataEntry) -> None:
        """Show the rows of an entry, with what was changed."""
        self._entry = entry
        self._take()
        self._rows.show_dataset(entry.dataset, self._records)

    def records(self) -> Sequence[Record]:
        """The rows that are shown."""
        return self._records

    def ask_to_write(self) -> None:
        """Something else can't be done while changes are pending: say so."""
        report_error(self, UserError(tr("There are unsaved changes."), "",
                                   tr("Save a new version or undo them first.")))

    def _take(self) -> None:
        """Work out the rows with their changes, and say how many there are."""
        entry = self._entry
        assert entry is not None
        if entry.edits is not None and entry.changes:
            self._keys, self._records = entry.edits.rows()
        else:
            self._keys, self._records = range(len(entry.dataset.records)), entry.dataset.records
        count = len(entry.changes)
        self.bar.say(ntr("{n:,} unsaved change", "{n:,} unsaved changes", count) if count else "")
        # What is changed while a version is written would be lost when that takes the place of these rows.
        for button in (self.write, self.undo):
            button.setEnabled(entry is not self._writing)

    def _may_change(self) -> bool:
        if self._entry is not None and self._entry is self._writing:
            report_error(self, UserError(tr("A new version is being saved."), "",
                                       tr("Change rows once it's done.")))
            return False
        return self._entry is not None

    def _edits(self) -> Edits:
        from slmstudio.core.data.versions.edits import Edits

        entry = self._entry
        assert entry is not None
        if entry.edits is None:
            entry.edits = Edits(entry.dataset.records)
        return entry.edits

    def _show(self) -> None:
        only = self._rows.only
        if only is not self._only:  # others are shown than after the last change
            self._only_keys = [self._keys[row] for row in only or ()]
        self._take()
        places = [(bisect_left(self._keys, key), key) for key in self._only_keys]
        self._rows.set_records(self._records, None if only is None else [
            place for place, key in places if place < len(self._keys) and self._keys[place] == key])
        self._only = self._rows.only

    def _delete(self, rows: list[int]) -> None:
        if not self._may_change():
            return
        if len(rows) >= len(self._records):
            report_error(self, UserError(tr("A dataset needs at least one row."), "",
                                       tr("To get rid of all rows, remove the dataset from the list.")))
            return
        self._edits().delete([self._keys[row] for row in rows])
        self._show()

    def _open(self, row: int) -> None:
        if not self._may_change():
            return
        record = self._records[row]
        self._key = self._keys[row]
        self._editor.open_record(record, tr("Edit line {line:,}", line=record.line))
        self.editing.emit()

    def _open_new(self) -> None:
        from slmstudio.core.data.versions.edits import blank

        if self._entry is None or not self._may_change():
            return
        self._key = None
        last = self._records[-1].line if self._records else 0
        self._editor.open_record(blank(self._entry.dataset.layout, last + 1), tr("Add a row"))
        self.editing.emit()

    def _saved(self, record: Record) -> None:
        if not self._may_change():
            return
        if self._key is None:
            self._edits().add(record)
            self._show()
            self._rows.go(len(self._records) - 1)
        elif record != self._records[bisect_left(self._keys, self._key)]:
            self._edits().edit(self._key, record)
            self._show()

    def _undo(self) -> None:
        entry = self._entry
        if entry is not None and entry.edits is not None and entry.edits.changes and self._may_change():
            entry.edits.undo()
            self._show()

    def _write(self) -> None:
        entry = self._entry
        if entry is None or entry.edits is None or not entry.edits.changes or not self._may_change():
            return
        dataset, records, steps = entry.dataset, self._records, entry.edits.steps()
        self._writing = entry
        self._take()

        def done(made: Dataset) -> None:
            self._writing = None
            self.written.emit(entry, made)

        def failed(error: Exception) -> None:
            self._writing = None
            self._take()
            report_error(self, error)

        run_task(self, lambda task: work.write(dataset, records, steps, task), done, failed)
