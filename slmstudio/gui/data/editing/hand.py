"""Rows that are deleted, edited and added by hand, gathered until they are written as a new version."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from slmstudio.core.errors import UserError
from slmstudio.core.i18n import ntr, tr
from slmstudio.gui.common.tasks import run_task
from slmstudio.gui.common.widgets.areas import NoteBar
from slmstudio.gui.common.widgets.buttons import SecondaryButton
from slmstudio.gui.data.editing.row_editor import RowEditor
from slmstudio.gui.data.health import work
from slmstudio.gui.data.rows_card import RowsCard

if TYPE_CHECKING:
    from slmstudio.core.data.reader import Dataset
    from slmstudio.core.data.record import Record
    from slmstudio.core.data.versions.edits import Edits
    from slmstudio.gui.data.entry import DataEntry


class HandEdits(QObject):
    """Keeps the changes with the entry, and shows the rows with them.

    Signals:
        editing: a row is open in the editor.
        written(DataEntry, Dataset): the changes are a new version now.
        failed(object): they couldn't be written.
    """

    editing = Signal()
    written = Signal(object, object)
    failed = Signal(object)

    def __init__(self, rows: RowsCard, editor: RowEditor, parent: QObject):
        super().__init__(parent)
        self._rows, self._editor = rows, editor
        self._entry: DataEntry | None = None
        self._keys: Sequence[int] = ()
        self._records: Sequence[Record] = ()
        self._key: int | None = None
        self._writing: DataEntry | None = None
        self.undo = SecondaryButton(tr("Undo"), tr("Undo the last change (Ctrl+Z)."), "small", name="changes_undo",
                                    clicked=self._undo)
        self.undo.setShortcut("Ctrl+Z")
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
        self.failed.emit(UserError(tr("There are unsaved changes."), "",
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
            self.failed.emit(UserError(tr("A new version is being saved."), "",
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
        self._take()
        self._rows.set_records(self._records)

    def _delete(self, rows: list[int]) -> None:
        if not self._may_change():
            return
        if len(rows) >= len(self._records):
            self.failed.emit(UserError(tr("A dataset needs at least one row."), "",
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
            self.failed.emit(error)

        run_task(self, lambda task: work.write(dataset, records, steps, task), done, failed)
