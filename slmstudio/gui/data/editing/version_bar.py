"""Shows what the dataset was made from, and goes back to it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.gui.common.tasks import TaskSlot, run_task
from slmstudio.gui.common.widgets.buttons import SecondaryButton
from slmstudio.gui.common.widgets.card import NoteBar
from slmstudio.gui.data.editing import lineage_text
from slmstudio.gui.data.editing.drop_question import may_drop
from slmstudio.gui.data.health import work

if TYPE_CHECKING:
    from slmstudio.core.data.reader import Dataset
    from slmstudio.core.data.versions.store import Lineage
    from slmstudio.gui.data.entry import DataEntry


class VersionBar(QObject):
    """The bar of the entry that is shown; hidden for a file that isn't a version.

    Signals:
        replaced(DataEntry, Dataset): the earlier file should be shown in its place.
        closing(DataEntry): a mix was undone, and its file is gone.
        failed(object): it can't be undone, or the file couldn't be moved to the trash.
    """

    replaced = Signal(object, object)
    closing = Signal(object)
    failed = Signal(object)

    def __init__(self, parent: QObject):
        super().__init__(parent)
        self._entry: DataEntry | None = None
        self._task = TaskSlot()
        self.undo = SecondaryButton(tr("Undo"),
                                    tr("Go back to the file this was made from. This version moves to the trash."),
                                    "small", name="version_undo", clicked=self._undo)
        self.bar = NoteBar("version_text", "ok", (self.undo,))

    def show_entry(self, entry: DataEntry) -> None:
        """Look, off the UI thread, what its file was made from."""
        self._entry = entry
        self.bar.say("")
        path = entry.dataset.path
        self._task.run(self, lambda task: _lineage(path), self._show, self._damaged)

    def _show(self, lineage: Lineage | None) -> None:
        self.undo.setVisible(True)
        self.undo.setEnabled(True)
        self.bar.say(lineage_text.sentence(lineage) if lineage is not None else "")

    def _damaged(self, error: Exception) -> None:
        self.undo.setVisible(False)
        self.bar.say(" ".join((error.what, error.why)) if isinstance(error, UserError) else str(error))

    def _undo(self) -> None:
        entry = self._entry
        if entry is None or not may_drop(self.bar, [entry]):
            return
        self.undo.setEnabled(False)
        path = entry.dataset.path

        def done(answer: tuple[Dataset | None, Exception | None]) -> None:
            found, trouble = answer
            if found is not None:
                self.replaced.emit(entry, found)
            else:
                self.closing.emit(entry)
            if trouble is not None:
                self.failed.emit(trouble)

        def failed(error: Exception) -> None:
            self.undo.setEnabled(True)
            self.failed.emit(error)

        run_task(self, lambda task: work.before(path, task), done, failed)


def _lineage(path: Path) -> Lineage | None:
    from slmstudio.core.data.versions.store import read_lineage

    return read_lineage(path)
