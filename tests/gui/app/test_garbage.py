"""Garbage of the window is collected, and on the UI thread alone."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest
from PySide6.QtCore import QObject

from slmstudio.gui.common import tasks
from slmstudio.gui.common.tasks import FULL_EVERY, MIDDLE_EVERY, GarbageCollector, run_task

PATIENCE = 60_000


class Knot(QObject):
    """It knows itself, so that only a collection destroys it, and it has a child in Qt."""

    def __init__(self):
        super().__init__()
        self.child = QObject(self)
        self.itself = self


@pytest.fixture
def collector(qapp):
    made = GarbageCollector(interval=5)
    yield made
    made.stop()
    gc.disable()  # as in all tests of the window, until the module ends


@pytest.fixture
def allocating():
    """Three threads that allocate what counts for the collection, and how often each went round."""
    stop, rounds = threading.Event(), [0, 0, 0]

    def allocate(number: int) -> None:
        while not stop.is_set():
            kept = [[[]] for _ in range(2000)]
            rounds[number] += bool(kept)

    threads = [threading.Thread(target=allocate, args=(number,)) for number in range(len(rounds))]
    for thread in threads:
        thread.start()
    yield rounds
    stop.set()
    for thread in threads:
        thread.join()


def test_what_qt_owns_is_destroyed_on_the_ui_thread_while_others_allocate(qtbot, collector, allocating):
    died_on, collected_on = [], set()

    def watch(phase: str, info: dict[str, int]) -> None:
        collected_on.add(threading.get_ident())

    gc.callbacks.append(watch)
    try:
        for _ in range(20):
            knot = Knot()
            weakref.finalize(knot, lambda: died_on.append(threading.get_ident()))
            del knot
        begun = list(allocating)  # each thread allocates enough for many collections before this one looks again
        while any(now < before + 20 for now, before in zip(allocating, begun, strict=True)):
            pass
        assert died_on == []
        qtbot.waitUntil(lambda: len(died_on) == 20, timeout=PATIENCE)
    finally:
        gc.callbacks.remove(watch)
    assert {*died_on, *collected_on} == {threading.get_ident()}


def test_old_garbage_goes_too(qtbot, collector):
    knot = Knot()
    gc.collect(0)
    gc.collect(1)  # it is of the oldest generation now, which only a full collection looks at
    gone = weakref.ref(knot)
    del knot
    kept = []
    for _ in range((MIDDLE_EVERY + 1) * (FULL_EVERY + 1)):
        assert gone() is not None
        kept.append([[] for _ in range(2000)])
        collector.look()
    assert gone() is None


def test_nothing_is_collected_while_nothing_is_allocated(collector):
    collected = []
    gc.collect()
    gc.callbacks.append(lambda phase, info: collected.append(info))
    try:
        collector.look()
    finally:
        gc.callbacks.pop()
    assert collected == []


def test_a_task_is_emptied_on_the_ui_thread(qtbot):
    """Else its thread might be the last to know the widget that asked."""
    owner, died_on, got = QObject(), [], []
    asking = Knot()
    asking.itself = None
    weakref.finalize(asking, lambda: died_on.append(threading.get_ident()))
    let_go = threading.Event()

    def work(task, asking=asking):
        assert let_go.wait(60)

    run_task(owner, work, lambda answer, asking=asking: got.append(answer), got.append)
    del asking, work
    let_go.set()
    qtbot.waitUntil(lambda: got == [None], timeout=PATIENCE)
    assert tasks.shut_down(60_000)
    qtbot.waitUntil(lambda: bool(died_on), timeout=PATIENCE)
    assert died_on == [threading.get_ident()]
