"""Garbage is collected on the UI thread alone.

Python collects cyclic garbage on whichever thread happens to allocate. A thread at work that so destroys a widget
takes the program along, now and then. So the automatic collection is off, and a timer of the UI thread does its work.
"""

from __future__ import annotations

import gc
import time

from PySide6.QtCore import QObject, QTimer

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
