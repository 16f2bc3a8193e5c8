"""Work off the UI thread, with its answer back on it.

`run_task(self, read, done=self._show, failed=self._banner.show_error)` is all a tab needs. The work is
given its `Task`, through which it tells of progress and learns that it was cancelled.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from PySide6.QtCore import QObject, QRunnable, Qt, QThreadPool, Signal, Slot
from shiboken6 import isValid

REPORTS_A_SECOND = 20
_running: set[Task] = set()
"""Keeps each task alive until its answer was given; nobody else needs to hold it."""


class Task(QObject):
    """One piece of work in the thread pool.

    After `cancel()`, and when its owner is gone, neither `done` nor `failed` is called.
    """

    _finished = Signal(object)
    _raised = Signal(object)
    _progressed = Signal(object, object)

    def __init__(self, owner: QObject, done: Callable[[Any], None], failed: Callable[[Exception], None],
                 progress: Callable[[int, int], None] | None):
        super().__init__()
        self._owner, self._done, self._failed, self._on_progress = owner, done, failed, progress
        self._stop = threading.Event()
        self._last_report = 0.0
        queued = Qt.ConnectionType.QueuedConnection
        self._finished.connect(self._deliver, queued)
        self._raised.connect(self._deliver_error, queued)
        self._progressed.connect(self._deliver_progress, queued)

    def cancel(self) -> None:
        """Ask the work to end. It does so at its next look at `cancelled()`."""
        self._stop.set()

    def cancelled(self) -> bool:
        """Whether the answer is still wanted. Thread-safe."""
        return self._stop.is_set()

    def progress(self, done: int, total: int) -> None:
        """Tell how far the work is. Thread-safe; callers may call it as often as they like."""
        now = time.monotonic()
        if now - self._last_report >= 1 / REPORTS_A_SECOND or done >= total:
            self._last_report = now
            self._progressed.emit(done, total)

    def _wanted(self) -> bool:
        return not self.cancelled() and isValid(self._owner)

    @Slot(object)
    def _deliver(self, result: Any) -> None:
        _running.discard(self)
        if self._wanted():
            self._done(result)

    @Slot(object)
    def _deliver_error(self, error: Exception) -> None:
        _running.discard(self)
        if self._wanted():
            self._failed(error)

    @Slot(object, object)
    def _deliver_progress(self, done: int, total: int) -> None:
        if self._on_progress is not None and self in _running and self._wanted():
            self._on_progress(done, total)


class _Work(QRunnable):
    def __init__(self, task: Task, func: Callable[[Task], Any]):
        super().__init__()
        self._task, self._func = task, func

    def run(self) -> None:
        from slmstudio.core.errors import UserError

        try:
            result = self._func(self._task)
        except Exception as error:
            if not isinstance(error, UserError) and not self._task.cancelled():
                logging.getLogger(__name__).exception("A task failed.")
            self._task._raised.emit(error)
        else:
            self._task._finished.emit(result)


def run_task(owner: QObject, func: Callable[[Task], Any], done: Callable[[Any], None],
             failed: Callable[[Exception], None], progress: Callable[[int, int], None] | None = None) -> Task:
    """Run `func(task)` in the thread pool and give its answer to `done` on the UI thread.

    Args:
        owner: when this object is destroyed, the answer is dropped.
        failed: called with the UserError, or with the defect (already logged with its traceback).
        progress: called with (done, total), at most 20 times a second and always at the end.
    """
    task = Task(owner, done, failed, progress)
    _running.add(task)
    QThreadPool.globalInstance().start(_Work(task, func))
    return task


def shut_down(milliseconds: int = 3000) -> bool:
    """Cancel everything and wait for it; the last thing the program does. False when something still runs."""
    for task in list(_running):
        task.cancel()
    ended = QThreadPool.globalInstance().waitForDone(milliseconds)
    _running.clear()
    return ended
