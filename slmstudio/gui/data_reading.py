"""Reads the files that the Data tab wants, in a thread."""

from __future__ import annotations

import gc
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QCoreApplication

from slmstudio.core.errors import UserError
from slmstudio.gui.tasks import Task
from slmstudio.gui.widgets.labels import counted

if TYPE_CHECKING:
    from slmstudio.core.data.reader import Dataset
    from slmstudio.core.data.remembered import Remembered
    from slmstudio.gui.data_workspace import DataEntry


@dataclass(frozen=True)
class Wanted:
    """A file to read.

    Attributes:
        eval_path: a file with evaluation rows that belongs to it.
        eval_for: when set, `path` itself holds the evaluation rows of this entry.
        kept: what was chosen for it when it was open before.
        restore: it was open when the window was closed, and comes back.
        again: it is open, and was changed.
        line: of the row to show.
    """

    path: Path
    eval_path: Path | None = None
    eval_for: DataEntry | None = None
    kept: Remembered | None = None
    restore: bool = False
    again: bool = False
    line: int = 0


@dataclass(frozen=True)
class Read:
    """
    Attributes:
        notes: what is not as it was.
    """

    dataset: Dataset
    eval_dataset: Dataset | None = None
    notes: list[UserError] = field(default_factory=list)


def read(wanted: Wanted, task: Task) -> Read:
    """Read a file, and that with its evaluation rows.

    Raises:
        Missing: it was open before, and is not there.
        UserError: it cannot be used. A remembered file with evaluation rows that cannot be used is only noted.
    """
    from slmstudio.core.data.reader import read_dataset
    from slmstudio.core.data.remembered import trouble

    missing = trouble(wanted.path) if wanted.kept is not None or wanted.again else None
    if missing is not None:
        raise missing
    found = Read(read_dataset(wanted.path, task.progress, task.cancelled))
    if wanted.eval_path is not None:
        found = Read(found.dataset, read_dataset(wanted.eval_path, None, task.cancelled))
    elif wanted.kept is not None:
        found = _as_before(found.dataset, wanted.kept, wanted.restore, task)
    # Rows hold no cycles. A garbage collection that walks a million of them stops the window for a tenth of a second.
    gc.freeze()
    return found


def _as_before(dataset: Dataset, kept: Remembered, restore: bool, task: Task) -> Read:
    """With what was chosen for it, as far as that is still there."""
    from slmstudio.core.data import layouts
    from slmstudio.core.data.reader import ReadingCancelled, read_dataset
    from slmstudio.core.data.remembered import trouble

    notes, eval_dataset = [], None
    if restore and kept.sha256 and kept.sha256 != dataset.sha256:
        text = _tr("{name} has changed since it was last open; it has {rows} now.")
        notes.append(UserError(text.format(name=dataset.path.name, rows=counted(
            len(dataset.records), _tr("1 row"), _tr("{count} rows")))))
    if kept.eval_path is not None:
        try:
            if (missing := trouble(kept.eval_path)) is not None:
                raise missing
            eval_dataset = read_dataset(kept.eval_path, None, task.cancelled)
            if layouts.kind(eval_dataset.layout) != layouts.kind(dataset.layout):
                raise UserError(_tr("{name} holds rows of another kind now.").format(name=kept.eval_path.name))
        except ReadingCancelled:
            raise
        except UserError as error:
            text = _tr("The evaluation rows of {name} could not be opened, so some of its own rows are kept back.")
            notes.append(UserError(text.format(name=dataset.path.name), " ".join((error.what, error.why)).strip()))
            eval_dataset = None
    return Read(dataset, eval_dataset, notes)


def _tr(text: str) -> str:
    return QCoreApplication.translate("DataReading", text)
