"""Changes to the rows of an evaluation: tags, references, removal; and Undo."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Signal

from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.gui.common.tasks import TaskSlot

if TYPE_CHECKING:
    from slmstudio.core.evaluation.item_edits import ItemEdit
    from slmstudio.core.evaluation.scoring import Row

MOST = 30
"""Changes that can be undone."""


@dataclass(frozen=True)
class _Change:
    """
    Attributes:
        folder: of the evaluation.
        where: the row and the evaluation, in a sentence.
        said: makes a sentence of what `work` returns.
        row: id of the row.
        gone: whether there is no such row then.
        references: those that are written; None if it changes something else.
    """

    folder: Path
    where: str
    work: Callable[[], Any]
    said: Callable[[Any], str]
    row: int
    gone: bool
    references: list[str] | None


class RowEdits(QObject):
    """Makes one change at a time, off the UI thread; the next one waits.

    Signals:
        busy(bool): a change is being made, or is done.
        kept(Path, int, list[str]): the row of that id of the evaluation in that folder, be it open or not, has these
            references now.
        done(str, int): what was done, in a sentence, and the id of the row to look at; -1 for none.
        done_elsewhere: another evaluation was opened meanwhile; it was done in the one before.
        failed(Exception): it couldn't be done, and nothing was changed; or it was done in another evaluation, whose
            scores couldn't be updated. Names the row if another evaluation is open now.
    """

    busy = Signal(bool)
    kept = Signal(object, int, list)
    done = Signal(str, int)
    done_elsewhere = Signal()
    failed = Signal(object)

    def __init__(self, parent: QObject | None = None):
        super().__init__(parent)
        self._folder, self._name = Path(), ""
        self._made: list[ItemEdit] = []
        self._waiting: list[_Change] = []
        self._held = False
        self._task = TaskSlot()

    def begin(self, folder: Path, name: str) -> None:
        """Change the rows of another evaluation from now on.

        Args:
            name: what a user calls it, as in "tests.jsonl (helpdesk, today 15:31)".
        """
        self._folder, self._name, self._made = folder, name, []

    def hold(self, on: bool) -> None:
        """Let changes wait: the rows are being read, and must not be half old and half new."""
        self._held = on
        self._next()

    def can_undo(self) -> bool:
        return bool(self._made) and not self._task.is_busy() and not self._waiting

    def set_tags(self, row: Row, category: str, language: str) -> None:
        from slmstudio.core.evaluation import item_edits

        folder = self._folder
        self._run(row.id, row.line, lambda: item_edits.set_tags(folder, row.id, category, language),
                  lambda edit: self._keep(edit, tr("Tags saved.")))

    def set_references(self, row: Row, references: list[str]) -> None:
        from slmstudio.core.evaluation import item_edits

        folder = self._folder
        self._run(row.id, row.line, lambda: item_edits.set_references(folder, row.id, references),
                  lambda edit: self._keep(edit, tr("Reference corrected.")),
                  references=references)

    def remove(self, row: Row) -> None:
        from slmstudio.core.evaluation import item_edits

        folder = self._folder
        self._run(row.id, row.line, lambda: item_edits.remove(folder, row.id),
                  lambda edit: self._keep(edit, tr("Row removed.")), gone=True)

    def undo(self) -> None:
        """Take the last change back."""
        from slmstudio.core.evaluation import item_edits

        if self.can_undo():
            edit = self._made[-1]
            self._run(edit.item, edit.line, lambda: item_edits.undo(edit),
                      lambda unscored: self._taken_back(edit, unscored))

    def _keep(self, edit: ItemEdit, said: str) -> str:
        self._made = [*self._made, edit][-MOST:]
        return self._with_scores(said, edit.unscored)

    def _taken_back(self, edit: ItemEdit, unscored: UserError | None) -> str:
        self._made = [each for each in self._made if each is not edit]
        return self._with_scores(tr("Undone."), unscored)

    def _with_scores(self, said: str, unscored: UserError | None) -> str:
        return said if unscored is None else " ".join((
            said, tr("The scores haven't been updated: {why}", why=str(unscored))))

    def _run(self, row: int, line: int | None, work: Callable[[], Any], said: Callable[[Any], str], *,
             gone: bool = False, references: list[str] | None = None) -> None:
        where = (tr("The change was in line {line:,} of {test}.", line=line, test=self._name) if line else
                 tr("The change was in question {number:,} of {test}.", number=row + 1, test=self._name))
        self._waiting.append(_Change(self._folder, where, work, said, row, gone, references))
        self._next()

    def _next(self) -> None:
        if self._task.is_busy() or self._held or not self._waiting:
            return
        change = self._waiting.pop(0)
        self._task.run(self, lambda task: change.work(), lambda made: self._ended(change, made),
                       lambda error: self._failed(change, error))
        self.busy.emit(True)

    def _ended(self, change: _Change, made: Any) -> None:
        sentence = change.said(made) if change.folder == self._folder else None
        self.busy.emit(False)
        if change.references is not None:
            self.kept.emit(change.folder, change.row, change.references)
        if sentence is None:
            self.done_elsewhere.emit()  # what isn't seen can't be undone
            if (unscored := _unscored(made)) is not None:
                what = tr("A row was changed, but the scores haven't been updated.")
                self.failed.emit(self._elsewhere(change, what, unscored))
        else:
            self.done.emit(sentence, -1 if change.gone else change.row)
        self._next()

    def _failed(self, change: _Change, error: Exception) -> None:
        self.busy.emit(False)
        if change.folder != self._folder and isinstance(error, UserError):
            error = self._elsewhere(change, error.what, error)
        self.failed.emit(error)
        self._next()

    def _elsewhere(self, change: _Change, what: str, error: UserError) -> UserError:
        """The error, with the row named."""
        why = error.why if what == error.what else " ".join(filter(None, (error.what, error.why)))
        return UserError(f"{what} {change.where}", why, error.remedy, error.problems)


def _unscored(made: Any) -> UserError | None:
    """Why the scores are still those from before a change; None if they are new."""
    return made if isinstance(made, UserError) else getattr(made, "unscored", None)
