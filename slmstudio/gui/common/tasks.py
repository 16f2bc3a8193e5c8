"""Work off the UI thread, with its answer back on it; and what keeps that thread free: few redraws, garbage in small
portions.

`run_task(self, read, done=self._show, failed=self._banner.show_error)` is all a tab needs. The work is
given its `Task`, through which it reports progress and learns that it was cancelled.
"""

from __future__ import annotations

import gc
import logging
import threading
import time
from abc import abstractmethod
from collections.abc import Callable
from functools import cache, partial
from typing import Any

from PySide6.QtCore import QCoreApplication, QObject, QRunnable, Qt, QThread, QThreadPool, QTimer, Signal, Slot
from shiboken6 import isValid

from slmstudio.core.errors import UserError
from slmstudio.gui.common.widgets.banner import report_error
from slmstudio.gui.common.widgets.buttons import BusySign, note_pressed, pressed_button

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
        self._button = pressed_button()
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
        note_pressed(self._button)  # what follows on it is this button's too
        self._let_go()
        if wanted and error is not None and failed is not None:
            failed(error)
        elif wanted and done is not None:
            done(result)

    def _let_go(self) -> None:
        self._owner = self._func = self._done = self._failed = self._on_progress = self._button = None
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
    if task._button is not None:
        BusySign(task._button, lambda: task in _running and not task.cancelled())
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


# -- Garbage is collected on the UI thread alone.

INTERVAL = 100
"""Milliseconds between two looks at what was allocated: what a thread that reads a dataset allocates in this time is
looked through in less than a frame."""
MIDDLE_EVERY, FULL_EVERY = 3, 30
"""Collections of a generation before its elders are collected too."""
FULL_SHARE = 0.005
"""Share of the time that full collections may take: after one of 0.1 s the next one waits 20 s."""


class GarbageCollector(QObject):
    """Takes the place of the automatic collection from its making until `stop()`. Make it on the UI thread.

    Generations go as Python's do: the young one once enough was allocated, the middle one after some of those, all of
    it after many, and then only when the last full collection is long enough ago for what it took.
    """

    def __init__(self, parent: QObject | None = None, interval: int = INTERVAL):
        super().__init__(parent)
        gc.disable()
        self._young = self._middle = 0
        self._next_full = 0.0
        self._timer = QTimer(self, interval=interval, timeout=self.look)
        self._timer.start()

    def look(self) -> None:
        """Collect the generations that are due."""
        if gc.get_count()[0] <= max(gc.get_threshold()[0], 1):
            return
        if self._young < MIDDLE_EVERY:
            self._young += 1
            gc.collect(0)
            return
        self._young = 0
        begun = time.monotonic()
        if self._middle < FULL_EVERY or begun < self._next_full:
            self._middle += 1
            gc.collect(1)
            return
        self._middle = 0
        gc.collect()
        now = time.monotonic()
        self._next_full = now + (now - begun) / FULL_SHARE

    def keep_what_is_there(self) -> None:
        """Spare later collections everything that lives now: the window and its libraries, which live to the end."""
        gc.collect(1)
        gc.freeze()

    def let_go_of_it(self) -> None:
        """The window that was kept so ends: the next full collection looks through all again."""
        gc.unfreeze()
        self._middle, self._next_full = FULL_EVERY, 0.0

    def stop(self) -> None:
        """Leave it to Python again. Nothing of Qt may be garbage then while other threads run."""
        self._timer.stop()
        gc.enable()


# -- The one place that decides how often a view is redrawn.

REDRAWS_A_SECOND = 20


class Throttle(QObject):
    """Lets `act` run at most `REDRAWS_A_SECOND` times a second, and always once after the last request."""

    def __init__(self, act: Callable[[], None], parent: QObject):
        super().__init__(parent)
        self._act = act
        self._not_before = 0.0
        self._timer = QTimer(self, singleShot=True, timeout=self._run)

    def request(self) -> None:
        if not self._timer.isActive():
            self._timer.start(max(0, round((self._not_before - time.monotonic()) * 1000)))

    def rest(self, seconds: float) -> None:
        """Do not run again for this long: what is expensive to draw is drawn less often."""
        self._not_before = max(self._not_before, time.monotonic() + seconds)

    def _run(self) -> None:
        self._not_before = time.monotonic() + 1 / REDRAWS_A_SECOND
        self._act()


# -- A thread that lives until its work is done, even if nothing refers to it any more.

living: set[LivingThread] = set()
"""A QThread that is destroyed while it runs takes the program along."""


class LivingThread(QThread):
    """Does its `work` off the UI thread. When the program quits, it is asked to `leave`, and waited for.

    Signals:
        failed(Exception): the work ended with this error; what isn't for people to read is in the log too.
    """

    failed = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.finished.connect(self._forget)
        app = QCoreApplication.instance()
        if app is not None:
            app.aboutToQuit.connect(self.leave_and_wait)

    @abstractmethod
    def work(self) -> None:
        """What the thread is for."""

    @abstractmethod
    def leave(self) -> None:
        """Let `work` end soon."""

    @Slot()
    def leave_and_wait(self) -> None:
        """A signal that is on its way may still come."""
        self.leave()
        self.wait()

    @Slot()
    def _forget(self) -> None:
        living.discard(self)

    def run(self) -> None:
        living.add(self)
        try:
            self.work()
        except UserError as error:
            self.failed.emit(error)
        except Exception as error:
            logging.getLogger(__name__).exception("%s failed.", type(self).__name__)
            self.failed.emit(error)
