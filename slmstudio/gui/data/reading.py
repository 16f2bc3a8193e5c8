"""Reads the files that the Data tab wants, in a thread."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QCoreApplication

from slmstudio.core.errors import Problem, UserError
from slmstudio.gui.common.tasks import Task
from slmstudio.gui.common.widgets.labels import counted

if TYPE_CHECKING:
    from slmstudio.core.data.reader import Dataset
    from slmstudio.core.data.remembered import Remembered
    from slmstudio.gui.data.entry import DataEntry


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
            if (other := other_kind(eval_dataset, dataset)) is not None:
                raise other
        except ReadingCancelled:
            raise
        except UserError as error:
            text = _tr("The evaluation rows of {name} could not be opened, so some of its own rows are kept back.")
            notes.append(UserError(text.format(name=dataset.path.name), " ".join((error.what, error.why)).strip()))
            eval_dataset = None
    return Read(dataset, eval_dataset, notes)


def other_kind(eval_dataset: Dataset, dataset: Dataset) -> UserError | None:
    """Why one cannot evaluate the other: their rows are of different kinds. None where they are not."""
    from slmstudio.core.data import layouts

    if layouts.kind(eval_dataset.layout) == layouts.kind(dataset.layout):
        return None
    name, data = eval_dataset.path.name, dataset.path.name
    return UserError(
        _tr("{name} cannot evaluate {data}.").format(name=name, data=data),
        _tr("Their rows are of different kinds. {name}: {theirs} {data}: {own}").format(
            name=name, theirs=layouts.sentence(eval_dataset.layout), data=data, own=layouts.sentence(dataset.layout)),
        _tr("Choose a file with rows of the same kind."))


def all_together(errors: Sequence[Exception], notes: Sequence[UserError]) -> Exception:
    """What could not be read, and what is not as it was, in one message."""
    everything = [*errors, *notes]
    if len(everything) == 1:
        return everything[0]
    what = _tr("Not everything is as it was when the window was closed.") if notes else (
        _tr("{count} files could not be read.").format(count=len(errors)))
    return UserError(what, problems=[Problem(str(each).splitlines()[0]) for each in everything])


def _tr(text: str) -> str:
    return QCoreApplication.translate("DataReading", text)
