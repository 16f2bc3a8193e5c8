"""Work off the UI thread."""

from __future__ import annotations

import threading

import pytest
from PySide6.QtCore import QCoreApplication, QEvent, QObject, QThread, QThreadPool

from slmstudio.core.errors import UserError
from slmstudio.gui.common import tasks
from slmstudio.gui.common.tasks import run_task
from slmstudio.gui.common.widgets.buttons import BusySign, SecondaryButton


@pytest.fixture(autouse=True)
def nothing_left(qapp):
    yield
    assert tasks.shut_down(60_000)


def raises(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(("work", "expected"), [
    (lambda task: threading.current_thread() is threading.main_thread(), "False"),
    (lambda task: raises(UserError("It broke.")), "It broke."),
    (lambda task: raises(ZeroDivisionError("zero")), "zero")])
def test_the_answer_or_the_error_comes_on_the_ui_thread(qtbot, caplog, work, expected):
    owner, got = QObject(), []

    def keep(answer: object) -> None:
        got.append((str(answer), QThread.isMainThread()))

    run_task(owner, work, keep, keep)
    qtbot.waitUntil(lambda: bool(got))
    assert got == [(expected, True)]
    assert ("Traceback" in caplog.text) == ("zero" in expected), "a defect is logged"


def test_progress_is_thinned_out_and_always_told_at_the_end(qtbot):
    owner, seen, got = QObject(), [], []
    big = 5 * 1024**3  # more than a signal's int could carry

    def work(task):
        for done in range(10_001):
            task.progress(done * big, 10_000 * big)
        return "ready"

    run_task(owner, work, got.append, got.append, lambda done, total: seen.append((done, total)))
    qtbot.waitUntil(lambda: bool(got))
    assert seen[-1] == (10_000 * big, 10_000 * big) and len(seen) < 200


@pytest.mark.parametrize("how", ["cancelled", "owner gone"])
def test_nothing_comes_when_nobody_waits_any_more(qtbot, how):
    owner, got, begun, go_on = QObject(), [], threading.Event(), threading.Event()

    def work(task):
        begun.set()
        go_on.wait(60)
        return task.cancelled()

    task = run_task(owner, work, got.append, got.append)
    assert begun.wait(60)
    if how == "cancelled":
        task.cancel()
    else:
        owner.deleteLater()
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    go_on.set()
    assert QThreadPool.globalInstance().waitForDone(60_000)
    QCoreApplication.processEvents()
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


def test_the_button_that_began_something_long_shows_that_it_is_at_work(qtbot):
    """And so does what follows on that."""
    first, second, got = threading.Event(), threading.Event(), []
    button = SecondaryButton("Measure", clicked=lambda: run_task(button, lambda task: first.wait(60), then))

    def then(answer: object) -> None:
        run_task(button, lambda task: second.wait(60), got.append)

    def signs() -> list[BusySign]:
        return [each for each in button.findChildren(BusySign) if each.isVisible()]

    qtbot.addWidget(button)
    button.show()
    button.click()
    qtbot.waitUntil(lambda: len(signs()) == 1)
    first.set()
    shown = signs()
    qtbot.waitUntil(lambda: bool(signs()) and signs() != shown)
    second.set()
    qtbot.waitUntil(lambda: bool(got) and not button.findChildren(BusySign))
    run_task(button, lambda task: first.wait(60), got.append)
    assert button.findChildren(BusySign) == [], "nobody pressed it"
