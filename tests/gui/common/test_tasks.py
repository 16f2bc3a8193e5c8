"""Work off the UI thread."""

from __future__ import annotations

import threading

import pytest
from PySide6.QtCore import QCoreApplication, QEvent, QObject, QThread

from slmstudio.core.errors import UserError
from slmstudio.gui.common import tasks
from slmstudio.gui.common.tasks import run_task


@pytest.fixture(autouse=True)
def nothing_left(qapp):
    yield
    assert tasks.shut_down(60_000)


def test_the_answer_comes_on_the_ui_thread(qtbot):
    owner, got = QObject(), []

    def work(task):
        return threading.current_thread() is threading.main_thread()

    run_task(owner, work, lambda answer: got.append((answer, QThread.isMainThread())), got.append)
    qtbot.waitUntil(lambda: bool(got))
    assert got == [(False, True)]


def test_an_error_comes_on_the_ui_thread(qtbot):
    owner, got = QObject(), []

    def work(task):
        raise UserError("It broke.")

    run_task(owner, work, got.append, lambda error: got.append((str(error), QThread.isMainThread())))
    qtbot.waitUntil(lambda: bool(got))
    assert got == [("It broke.", True)]


def test_a_defect_is_logged_with_its_traceback(qtbot, caplog):
    owner, got = QObject(), []

    def work(task):
        return 1 // 0

    run_task(owner, work, got.append, got.append)
    qtbot.waitUntil(lambda: bool(got))
    assert isinstance(got[0], ZeroDivisionError)
    assert "return 1 // 0" in caplog.text


def test_progress_is_thinned_out_and_always_told_at_the_end(qtbot):
    owner, seen, got = QObject(), [], []

    def work(task):
        for done in range(10_001):
            task.progress(done, 10_000)
        return "ready"

    run_task(owner, work, got.append, got.append, lambda done, total: seen.append((done, total)))
    qtbot.waitUntil(lambda: bool(got))
    assert seen[-1] == (10_000, 10_000)
    assert len(seen) < 200


def test_sizes_above_two_gigabytes_arrive_whole(qtbot):
    owner, seen, got = QObject(), [], []
    big = 5 * 1024**3
    run_task(owner, lambda task: task.progress(big, big), got.append, got.append, lambda d, t: seen.append((d, t)))
    qtbot.waitUntil(lambda: bool(got))
    assert seen == [(big, big)]


def test_nothing_comes_after_cancel(qtbot):
    owner, got, begun, go_on = QObject(), [], threading.Event(), threading.Event()

    def work(task):
        begun.set()
        go_on.wait(60)
        return task.cancelled()

    task = run_task(owner, work, got.append, got.append)
    assert begun.wait(60)
    task.cancel()
    go_on.set()
    qtbot.waitUntil(lambda: task not in tasks._running)
    assert got == []


def test_nothing_comes_when_the_owner_is_gone(qtbot):
    owner, got, go_on = QObject(), [], threading.Event()
    task = run_task(owner, lambda task: go_on.wait(60), got.append, got.append)
    owner.deleteLater()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    go_on.set()
    qtbot.waitUntil(lambda: task not in tasks._running)
    assert got == []


def test_shutting_down_waits_for_work_that_looks_up(qapp):
    owner, begun = QObject(), threading.Event()

    def work(task):
        begun.set()
        while not task.cancelled():
            pass

    run_task(owner, work, lambda answer: None, lambda error: None)
    assert begun.wait(60)
    assert tasks.shut_down(60_000)
