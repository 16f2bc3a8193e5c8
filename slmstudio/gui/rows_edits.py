"""Changes to the rows of an evaluation: tags, references, removal; and Undo."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Signal

from slmstudio.gui.tasks import Task, run_task

if TYPE_CHECKING:
    from slmstudio.core.errors import UserError
    from slmstudio.core.evaluation.item_edits import ItemEdit
    from slmstudio.core.evaluation.scoring import Row

MOST = 30
"""Changes that can be undone; each keeps the test file as it was."""


class RowEdits(QObject):
    """Makes one change at a time, off the UI thread.

    Signals:
        busy(bool): a change is being made, or is done.
        done(str, int): what was done, in a sentence, and the id of the row to look at; -1 for none.
        done_elsewhere: another evaluation was opened meanwhile; it was done in the one before.
        failed(Exception): it could not be done; nothing was changed.
    """

    busy = Signal(bool)
    done = Signal(str, int)
    done_elsewhere = Signal()
    failed = Signal(object)

    def __init__(self, parent: QObject | None = None):
        super().__init__(parent)
        self._folder = Path()
        self._made: list[ItemEdit] = []
        self._task: Task | None = None

    def begin(self, folder: Path) -> None:
        """Change the rows of another evaluation from now on."""
        self._folder, self._made = folder, []

    def can_undo(self) -> bool:
        return bool(self._made) and self._task is None

    def set_tags(self, row: Row, category: str, language: str) -> None:
        from slmstudio.core.evaluation import item_tags

        folder = self._folder

        def said(in_file: bool) -> str:
            # What was kept for Undo is of a file that has other tags now.
            self._made = [] if in_file else self._made
            return self.tr("Kept in the evaluation and in the test file.") if in_file else self.tr(
                "Kept in the evaluation; the test file stays as it is.")

        self._run(lambda: item_tags.set_tags(folder, row.id, category, language), said, row.id)

    def set_references(self, row: Row, references: list[str]) -> None:
        from slmstudio.core.evaluation import item_edits

        folder = self._folder
        self._run(lambda: item_edits.set_references(folder, row.id, references), lambda edit: self._keep(edit, self.tr(
            "Reference corrected, here and in the test file.")), row.id)

    def remove(self, row: Row) -> None:
        from slmstudio.core.evaluation import item_edits

        folder = self._folder
        self._run(lambda: item_edits.remove(folder, row.id), lambda edit: self._keep(edit, self.tr(
            "Row removed, here and from the test file.")), -1)

    def undo(self) -> None:
        """Take the last change back."""
        from slmstudio.core.evaluation import item_edits

        if self.can_undo():
            edit = self._made[-1]
            self._run(lambda: item_edits.undo(edit), lambda unscored: self._taken_back(edit, unscored),
                      edit.item)

    def _keep(self, edit: ItemEdit, said: str) -> str:
        self._made = [*self._made, edit][-MOST:]
        return self._with_scores(said, edit.unscored)

    def _taken_back(self, edit: ItemEdit, unscored: UserError | None) -> str:
        self._made = [each for each in self._made if each is not edit]
        return self._with_scores(self.tr("Taken back."), unscored)

    def _with_scores(self, said: str, unscored: UserError | None) -> str:
        return said if unscored is None else " ".join((
            said, self.tr("The scores are still those from before:"), str(unscored)))

    def _run(self, work: Callable[[], Any], said: Callable[[Any], str], row: int) -> None:
        if self._task is not None:
            return
        folder = self._folder

        def ended(made: Any) -> None:
            self._task = None
            sentence = said(made) if folder == self._folder else None
            self.busy.emit(False)
            if sentence is None:
                self.done_elsewhere.emit()  # there is no Undo of what is not seen
            else:
                self.done.emit(sentence, row)

        self._task = run_task(self, lambda task: work(), ended, self._failed)
        self.busy.emit(True)

    def _failed(self, error: Exception) -> None:
        self._task = None
        self.busy.emit(False)
        self.failed.emit(error)
