"""Shows what the dataset was made from, and goes back to it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Signal

from slmstudio.core.data.health.finding import KINDS
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import ntr, tr
from slmstudio.gui.common.tasks import TaskSlot, run_task
from slmstudio.gui.common.widgets.areas import NoteBar
from slmstudio.gui.common.widgets.buttons import SecondaryButton
from slmstudio.gui.data.editing.drop_question import may_drop
from slmstudio.gui.data.health import work

if TYPE_CHECKING:
    from slmstudio.core.data.reader import Dataset
    from slmstudio.core.data.versions.store import Lineage
    from slmstudio.gui.data.entry import DataEntry

# -- How a version came to be, in a sentence.


def sentence(lineage: Lineage) -> str:
    """As in "Made from ward.jsonl: 5 rows removed (Duplicate rows), 12 rows masked (Phone numbers)"."""
    if lineage.before is None:
        parts = [ntr("{name} ({n:,} row)", "{name} ({n:,} rows)", each.rows or 0, name=each.name)
                 for each in lineage.sources]
        return tr("Mixed from {parts}", parts=", ".join(parts))
    said = [*_fixes(lineage.steps), *_by_hand(lineage.steps)]
    if not said:
        return tr("Made from {name}", name=lineage.before.name)
    return tr("Made from {name}: {steps}", name=lineage.before.name, steps=", ".join(said))


def _fixes(steps: tuple[dict[str, Any], ...]) -> list[str]:
    found = []
    for step in steps:
        kind = KINDS.get(str(step.get("fix")))
        if kind is None:
            continue
        removed = _whole(step.get("removed"))
        rewritten = _whole(step.get("rows")) - removed
        title = kind.title
        if removed:
            found.append(ntr("{n:,} row removed ({title})", "{n:,} rows removed ({title})", removed, title=title))
        if rewritten > 0:
            found.append(
                ntr("{n:,} row masked ({title})", "{n:,} rows masked ({title})", rewritten, title=title)
                if kind.mask else
                ntr("{n:,} row fixed ({title})", "{n:,} rows fixed ({title})", rewritten, title=title))
    return found


def _by_hand(steps: tuple[dict[str, Any], ...]) -> list[str]:
    edited = len({step["edit"] for step in steps if isinstance(step.get("edit"), int)})
    deleted, added = (sum(_whole(step.get(name)) for step in steps) for name in ("delete", "add"))
    return [said for count, said in (
        (edited, ntr("{n:,} row edited", "{n:,} rows edited", edited)),
        (deleted, ntr("{n:,} row deleted", "{n:,} rows deleted", deleted)),
        (added, ntr("{n:,} row added", "{n:,} rows added", added))) if count]


def _whole(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0


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
        self.bar.say(sentence(lineage) if lineage is not None else "")

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
