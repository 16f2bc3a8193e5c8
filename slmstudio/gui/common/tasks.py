"""Work off the UI thread, with its answer back on it.

`run_task(self, read, done=self._show, failed=self._banner.show_error)` is all a tab needs. The work is
given its `Task`, through which it reports progress and learns that it was cancelled.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import cache, partial
from typing import Any

from PySide6.QtCore import QObject, QRunnable, Qt, QThreadPool, Signal, Slot
from shiboken6 import isValid

from slmstudio.gui.common.announce import report_error

REPORTS_A_SECOND = 20
_running: set[Task] = set()
"""Keeps each task alive until its answer was given; nobody else needs to hold it."""


class Task:
    """One piece of work in the thread pool.

    After `cancel()`, and when its owner is gone, neither `done` nor `failed` is called.

    A thread at work must never hold the last reference to anything of Qt: what is destroyed there takes the program
    along. So a task isn't a QObject, it alone holds the functions, and `_let_go()` empties it on the UI thread.
    """

    def __init__(self, owner: QObject, func: Callable[[Task], Any], done: Callable[[Any], None],
                 failed: Callable[[Exception], None], progress: Callable[[int, int], None] | None):
        self._owner: QObject | None = owner
        self._func: Callable[[Task], Any] | None = func
        self._done: Callable[[Any], None] | None = done
        self._failed: Callable[[Exception], None] | None = failed
        self._on_progress = progress
        self._result: Any = None
        self._error: Exception | None = None
        self._stop = threading.Event()
        self._last_report = 0.0

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
            _relay().progressed.emit(self, done, total)

    def _work(self) -> None:
        """On its thread: keep the answer."""
        from slmstudio.core.errors import UserError

        assert self._func is not None
        try:
            self._result = self._func(self)
        except Exception as error:
            if not isinstance(error, UserError) and not self.cancelled():
                logging.getLogger(__name__).exception("A task failed.")
            self._error = error

    def _wanted(self) -> bool:
        return not self.cancelled() and self._owner is not None and isValid(self._owner)

    def _deliver(self) -> None:
        """On the UI thread: give the answer."""
        wanted, done, failed = self._wanted(), self._done, self._failed
        result, error = self._result, self._error
        self._let_go()
        if wanted and error is not None and failed is not None:
            failed(error)
        elif wanted and done is not None:
            done(result)

    def _let_go(self) -> None:
        self._owner = self._func = self._done = self._failed = self._on_progress = None
        self._result = self._error = None


class _Relay(QObject):
    """Carries what tasks say to the UI thread, on which it was made."""

    ended = Signal(object)
    progressed = Signal(object, object, object)

    def __init__(self) -> None:
        super().__init__()
        self.ended.connect(self._deliver, Qt.ConnectionType.QueuedConnection)
        self.progressed.connect(self._deliver_progress, Qt.ConnectionType.QueuedConnection)

    @Slot(object)
    def _deliver(self, task: Task) -> None:
        _running.discard(task)
        task._deliver()

    @Slot(object, object, object)
    def _deliver_progress(self, task: Task, done: int, total: int) -> None:
        if task._on_progress is not None and task in _running and task._wanted():
            task._on_progress(done, total)


@cache
def _relay() -> _Relay:
    return _Relay()


class _Work(QRunnable):
    def __init__(self, task: Task):
        super().__init__()
        self._task = task

    def run(self) -> None:
        self._task._work()
        _relay().ended.emit(self._task)


def run_task(owner: QObject, func: Callable[[Task], Any], done: Callable[[Any], None],
             failed: Callable[[Exception], None] | None = None,
             progress: Callable[[int, int], None] | None = None) -> Task:
    """Run `func(task)` in the thread pool and give its answer to `done` on the UI thread.

    Args:
        owner: when this object is destroyed, the answer is dropped.
        failed: called with the UserError, or with the defect (already logged with its traceback); None lets the
            owner's tab show it.
        progress: called with (done, total), at most 20 times a second and always at the end.
    """
    _relay()  # made here, on the UI thread
    task = Task(owner, func, done, failed or partial(report_error, owner), progress)
    _running.add(task)
    QThreadPool.globalInstance().start(_Work(task))
    return task


class TaskSlot:
    """Room for one task: what begins takes the place of what is at work."""

    def __init__(self) -> None:
        self._task: Task | None = None

    def is_busy(self) -> bool:
        return self._task is not None

    def run(self, owner: QObject, func: Callable[[Task], Any], done: Callable[[Any], None],
            failed: Callable[[Exception], None] | None = None,
            progress: Callable[[int, int], None] | None = None) -> None:
        """As `run_task`. The slot is free when `done` or `failed` is called."""
        def then(act: Callable[[Any], None]) -> Callable[[Any], None]:
            def call(answer: Any) -> None:
                self._task = None
                act(answer)

            return call

        self.cancel()
        self._task = run_task(owner, func, then(done), then(failed or partial(report_error, owner)), progress)

    def cancel(self) -> None:
        """Cancel what is at work, if anything is."""
        if self._task is not None:
            self._task.cancel()
            self._task = None


def is_busy(owner: QObject) -> bool:
    """Whether this object waits for the answer of a task."""
    return any(task._owner is owner and not task.cancelled() for task in _running)


def shut_down(milliseconds: int = 3000) -> bool:
    """Cancel everything and wait for it; the last thing the program does. False when something still runs."""
    for task in list(_running):
        task.cancel()
    ended = QThreadPool.globalInstance().waitForDone(milliseconds)
    _running.clear()
    return ended
