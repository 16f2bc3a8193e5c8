"""Reads the files that the Data tab wants, one after another, off the UI thread."""

from __future__ import annotations

import gc
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from slmstudio.core.data.read_options import NO_OPTIONS
from slmstudio.core.errors import Problem, UserError
from slmstudio.core.i18n import ntr, tr
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.tasks import Task, run_task

if TYPE_CHECKING:
    from slmstudio.core.data.candidates import Candidate
    from slmstudio.core.data.read_options import ReadOptions
    from slmstudio.core.data.reader import Dataset, Preview
    from slmstudio.core.data.remembered import Remembered
    from slmstudio.gui.data.recent import DataEntry

NOTHING: Mapping[str, str] = {}
LARGE_BYTES = 20 << 20
"""A file that takes more than a second or two to read."""
PEEKED_ROWS = 100


@dataclass(frozen=True)
class ReadRequest:
    """A file to read.

    Attributes:
        eval_path: a file with evaluation rows that belongs to it; `eval_said`: as `said`, of that file.
        eval_for: when set, `path` itself holds the evaluation rows of this entry.
        kept: what was chosen for it when it was open before.
        restore: it was open when the window was closed, and comes back.
        again: it is open, and was changed.
        line: of the row to show.
        said: what its columns hold, as `read_options.parse` reads it; "" reads it by guess, None as it was read
            before, or as others with its columns.
        by_hand: a user just chose this, and is told if it doesn't work; `answered`: when asked how it is to be read.
    """

    path: Path
    eval_path: Path | None = None
    eval_for: DataEntry | None = None
    kept: Remembered | None = None
    restore: bool = False
    again: bool = False
    line: int = 0
    said: str | None = None
    by_hand: bool = False
    answered: bool = False
    eval_said: str | None = None


@dataclass(frozen=True)
class Read:
    """
    Attributes:
        eval_dataset: the rows of the file with evaluation rows that belongs to it.
        notes: what has changed since it was last read.
        by_shape: its columns were read as a user chose for another file with the same ones.
    """

    dataset: Dataset
    eval_dataset: Dataset | None = None
    notes: list[UserError] = field(default_factory=list)
    by_shape: bool = False


@dataclass(frozen=True)
class Question:
    """A file that doesn't say how it is to be read: a user has to.

    Attributes:
        found: its first rows, and the ways to read it.
        choices: what was said about it beside its columns.
    """

    found: Preview
    choices: ReadOptions

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        return self.found.candidates


def read(wanted: ReadRequest, mappings: Mapping[str, str], task: Task) -> Read | Question:
    """Read a file, and that with its evaluation rows.

    Args:
        mappings: what was said about the columns of other files, as `data.remembered` keeps it.

    Raises:
        Missing: it was open before, and isn't there.
        UserError: it can't be used. A remembered file with evaluation rows that can't be used is only noted.
    """
    from slmstudio.core.data.remembered import trouble

    missing = trouble(wanted.path) if wanted.kept is not None or wanted.again else None
    if missing is not None:
        raise missing
    found = mapped(wanted, mappings, task, wanted.eval_for.dataset.given if wanted.eval_for is not None else NOTHING)
    # What shows the rows is loaded by the time they are there, or the window would stop for a third of a second.
    importlib.import_module("slmstudio.gui.data.workspace")
    if isinstance(found, Question):
        return found
    evaluation, said = wanted.eval_path, wanted.eval_said
    if evaluation is None and wanted.kept is not None:
        evaluation, said = wanted.kept.eval_path, wanted.kept.eval_said or None
    if evaluation is not None:
        found = _with_evaluation(found, ReadRequest(evaluation, said=said), mappings, task)
    if wanted.kept is not None and wanted.restore:
        found = replace(found, notes=[*_changed(found.dataset, wanted.kept), *found.notes])
    # Rows hold no cycles. A garbage collection that walks a million of them stops the window for a tenth of a second.
    gc.freeze()
    return found


def peek(wanted: ReadRequest) -> Preview | None:
    """The first rows of a large file, which are there long before all of it is; None of another file.

    Raises:
        UserError: they can't be read; reading the file reports that too.
    """
    from slmstudio.core.data import read_options
    from slmstudio.core.data.reader import preview

    try:
        if wanted.eval_for is not None or wanted.path.stat().st_size < LARGE_BYTES:
            return None
    except OSError:
        return None
    said = wanted.said if wanted.said is not None or wanted.kept is None else wanted.kept.said
    return preview(wanted.path, options=read_options.parse(said)[1], most=PEEKED_ROWS)


def mapped(wanted: ReadRequest, mappings: Mapping[str, str], task: Task, beside: Mapping[str, str] = NOTHING
           ) -> Read | Question:
    """Read one file as was said about it, or of others with the same columns; otherwise as it says itself, or ask.

    Args:
        beside: what was said about the columns of the rows that it evaluates.

    Raises:
        UserError: it can't be used; where `by_hand`, also because it can't be read as was said.
    """
    from slmstudio.core.data import read_options
    from slmstudio.core.data.reader import ReadingCancelled, read_as

    said = wanted.said
    if said is None and wanted.kept is not None:
        said = wanted.kept.said or None
    columns, choices = read_options.parse(said)
    first, known = None if columns else _first_rows(wanted.path, choices, task), None
    if first is not None and said != "":
        known = _of_others(first.columns, choices, mappings, beside)
    must_ask = first is not None and not first.is_sure and bool(first.candidates or first.columns)
    # A sheet or a list that was chosen may have columns that tell nothing.
    is_answered = wanted.answered and first is not None and (not first.candidates or first.candidates[0].line == said)
    if first is not None and must_ask and not (known or wanted.again or is_answered):
        return Question(first, choices)
    try:
        return Read(read_as(wanted.path, known or said, task.progress, task.cancelled), by_shape=bool(known))
    except ReadingCancelled:
        raise
    except UserError:
        if wanted.by_hand or not (known or said):
            raise
    # What was said before doesn't fit the file any more, or not this one.
    guessed = mapped(replace(wanted, said="", kept=None), {}, task)
    if isinstance(guessed, Question) or known:
        return guessed
    return replace(guessed,
                   notes=[UserError(tr("The columns you chose for {name} no longer fit the file, so its layout was "
                                       "guessed.", name=wanted.path.name))])


def _first_rows(path: Path, choices: ReadOptions, task: Task) -> Preview | None:
    """None if they can't be read, which reading the file reports."""
    from slmstudio.core.data.reader import ReadingCancelled, preview

    try:
        return preview(path, options=choices, cancelled=task.cancelled)
    except ReadingCancelled:
        raise
    except UserError:
        return None


def _of_others(columns: Sequence[str], choices: ReadOptions, mappings: Mapping[str, str],
               beside: Mapping[str, str]) -> str | None:
    """What was said about others with the columns of a file; None if nothing was."""
    from slmstudio.core.data import read_options, remembered

    known, options = read_options.parse(remembered.said_of(mappings, columns))
    if known:
        chosen = {name: said for name, said in vars(options).items() if said}
        return read_options.written(known, replace(choices, **chosen))
    fits = bool(beside) and remembered.fits(read_options.written(beside, NO_OPTIONS), columns)
    return read_options.written(beside, choices) if fits else None


def _changed(dataset: Dataset, kept: Remembered) -> list[UserError]:
    """That a file has changed since it was open."""
    if not kept.sha256 or kept.sha256 == dataset.sha256:
        return []
    return [UserError(ntr("{name} has changed since it was last open. It has {n:,} row now.",
                          "{name} has changed since it was last open. It has {n:,} rows now.", len(dataset.records),
                          name=dataset.path.name))]


def _with_evaluation(found: Read, wanted: ReadRequest, mappings: Mapping[str, str], task: Task) -> Read:
    """With its evaluation rows, as far as they are there and fit."""
    from slmstudio.core.data.reader import ReadingCancelled
    from slmstudio.core.data.remembered import trouble

    dataset = found.dataset
    try:
        if (missing := trouble(wanted.path)) is not None:
            raise missing
        evaluation = mapped(wanted, mappings, task, dataset.given)
        if isinstance(evaluation, Question):
            raise UserError(tr("It isn't clear how {name} should be read.", name=wanted.path.name))
        if (other := other_kind(evaluation.dataset, dataset)) is not None:
            raise other
    except ReadingCancelled:
        raise
    except UserError as error:
        note = tr("The evaluation rows for {name} couldn't be opened, so some of its own rows are set aside instead.",
                  name=dataset.path.name)
        return replace(found, notes=[*found.notes, UserError(note, " ".join((error.what, error.why)).strip())])
    return replace(found, eval_dataset=evaluation.dataset, notes=[*found.notes, *evaluation.notes])


def other_kind(eval_dataset: Dataset, dataset: Dataset) -> UserError | None:
    """Why one can't be used to evaluate the other: their rows have different types. None if they don't."""
    from slmstudio.core.data import layouts

    if layouts.kind(eval_dataset.layout) == layouts.kind(dataset.layout):
        return None
    name, data = eval_dataset.path.name, dataset.path.name
    return UserError(tr("{name} can't be used to evaluate {data}.", name=name, data=data),
                     tr("They have different types of rows. {name}: {theirs} {data}: {own}", name=name,
                        theirs=layouts.sentence(eval_dataset.layout), data=data, own=layouts.sentence(dataset.layout)),
                     tr("Choose a file with the same type of rows."))


def all_together(errors: Sequence[Exception], notes: Sequence[UserError]) -> Exception:
    """What couldn't be read, and what isn't as it was, in one message."""
    everything = [*errors, *notes]
    if len(everything) == 1:
        return everything[0]
    what = (tr("Some things have changed since the window was closed.") if notes else
            ntr("{n:,} file couldn't be read.", "{n:,} files couldn't be read.", len(errors)))
    return UserError(what, problems=[Problem(str(each).splitlines()[0]) for each in everything])


class ReadingQueue(QObject):
    """Reads one file at a time.

    Attributes:
        reading: the one that is being read; None when nothing is.
        waiting: those after it.

    Signals:
        begun: a file is read, or waits, that wasn't before.
        progressed(int, int): bytes read, and in all.
        peeked(Wanted, Preview): the first rows of a large file, while it is read.
        was_read(Wanted, Read | Question), failed(Wanted, Exception): one is done.
        finished: nothing waits any more.
    """

    begun = Signal()
    progressed = Signal(object, object)
    peeked = Signal(object, object)
    was_read = Signal(object, object)
    failed = Signal(object, object)
    finished = Signal()

    def __init__(self, session: Session, parent: QObject | None = None):
        super().__init__(parent)
        self.reading: ReadRequest | None = None
        self.waiting: list[ReadRequest] = []
        self._session = session
        self._task: Task | None = None

    def add(self, wanted: ReadRequest) -> None:
        """Read this one when those before it are read."""
        self.waiting.append(wanted)
        if self.reading is None:
            self._next()
        else:
            self.begun.emit()

    def drop_by_hand(self, path: Path) -> None:
        """Forget what a user said about this file just before, and now says otherwise."""
        self.waiting = [each for each in self.waiting if not (each.by_hand and each.path == path)]
        if self.reading is not None and self.reading.by_hand and self.reading.path == path:
            self._stop()

    def cancel(self) -> None:
        """Read nothing any more."""
        self.waiting.clear()
        self._stop()

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self.reading = self._task = None

    def _next(self) -> None:
        if not self.waiting:
            self.finished.emit()
            return
        wanted = self.reading = self.waiting.pop(0)
        mappings = dict(self._session.settings.mappings)
        run_task(self, lambda task: peek(wanted), lambda found: self._peeked(wanted, found), lambda error: None)
        self._task = run_task(self, lambda task: read(wanted, mappings, task),
                              lambda found: self._done(wanted, found), lambda error: self._failed(wanted, error),
                              self.progressed.emit)
        self.begun.emit()

    def _peeked(self, wanted: ReadRequest, found: Preview | None) -> None:
        if found is not None and self.reading is wanted:
            self.peeked.emit(wanted, found)

    def _done(self, wanted: ReadRequest, found: object) -> None:
        self.reading = self._task = None
        self.was_read.emit(wanted, found)
        self._go_on()

    def _failed(self, wanted: ReadRequest, error: Exception) -> None:
        self.reading = self._task = None
        self.failed.emit(wanted, error)
        self._go_on()

    def _go_on(self) -> None:
        if self.reading is None:  # whoever heard of it may have begun another
            self._next()
