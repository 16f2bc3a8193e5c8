"""Changes of evaluated rows that take long, and what a person does meanwhile."""

from __future__ import annotations

import threading

import evaluated_runs
import pytest

from slmstudio.core.evaluation import item_edits
from slmstudio.gui.evaluation_jobs import read_evaluation
from slmstudio.gui.rows_page import RowsPage


@pytest.fixture
def held(monkeypatch):
    """Removing a row and taking that back wait for this event."""
    event = threading.Event()
    for name in ("remove", "undo"):
        monkeypatch.setattr(item_edits, name, _after(event, getattr(item_edits, name)))
    yield event
    event.set()


def _after(event, work):
    def late(*given):
        assert event.wait(60)
        return work(*given)

    return late


@pytest.fixture
def folders(studio_home, tiny_model):
    """Two evaluations of different runs."""
    return [evaluated_runs.write(evaluated_runs.ended_run(name, tiny_model), count=6).folder for name in "ab"]


@pytest.fixture
def page(qtbot, session, folders):
    made = RowsPage(session)
    qtbot.addWidget(made)
    made.resize(1280, 640)
    made.show()
    made.open(read_evaluation(folders[0]))
    qtbot.waitUntil(lambda: made.current() is not None, timeout=60_000)
    return made


def test_nothing_is_taken_while_a_change_is_at_work(qtbot, page, held):
    page.detail.remove.click()
    page.table.selectRow(3)
    assert not (page.detail.isEnabled() or page.table.isEnabled() or page.filters.isEnabled()), "it would be lost"
    held.set()
    qtbot.waitUntil(lambda: len(page.table.rows.shown) == 5, timeout=60_000)
    assert page.detail.isEnabled() and page.table.isEnabled() and page.filters.isEnabled()


def test_a_change_that_ends_after_another_evaluation_was_opened_leaves_that_alone(qtbot, page, held, folders):
    before = (folders[1] / "items.jsonl").read_bytes()
    page.detail.remove.click()
    page.open(read_evaluation(folders[1]))
    with qtbot.waitSignal(page.changed, timeout=60_000):
        held.set()
    assert not page.edits.can_undo() and page.undo.isHidden(), "the change was of the other"
    qtbot.waitUntil(lambda: page._task is None and len(page.table.rows.shown) == 6, timeout=60_000)
    page.detail.remove.click()
    qtbot.waitUntil(lambda: page.edits.can_undo() and page._task is None, timeout=60_000)
    assert len(page.table.rows.shown) == 5
    held.clear()
    page.undo.click()
    page.open(read_evaluation(folders[0]))
    with qtbot.waitSignal(page.changed, timeout=60_000):
        held.set()
    qtbot.waitUntil(lambda: page._task is None and page.detail.isEnabled(), timeout=60_000)
    assert (folders[1] / "items.jsonl").read_bytes() == before, "taken back there"
    page.detail.remove.click()  # a change that has ended hinders no other
    qtbot.waitUntil(page.edits.can_undo, timeout=60_000)
