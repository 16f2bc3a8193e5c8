"""Files that wait to be read, one after another, off the UI thread."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from slmstudio.gui.common.session import Session
from slmstudio.gui.common.tasks import Task, run_task
from slmstudio.gui.data.reading import ReadRequest, peek, read

if TYPE_CHECKING:
    from slmstudio.core.data.reader import Preview


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
