"""The search for better settings in the Training tab: asked for, shown, and its best taken into the plan."""

from __future__ import annotations

import pytest
from support import training_window
from support.tab_states import ended_search
from support.training_window import button

from slmstudio.core.run import queue
from slmstudio.core.run.searching import search

tab, planned = training_window.tab, training_window.planned


@pytest.fixture
def asked(qtbot, planned, monkeypatch):
    """The dialog as it asks, with a search that there is time for; nothing is trained."""
    monkeypatch.setattr(search, "FEWEST_ROWS", 2)
    button(planned, "search_settings").click()
    qtbot.waitUntil(lambda: planned.search.start.isEnabled(), timeout=20_000)
    return planned.search


def test_it_asks_says_what_it_does_and_starts(qtbot, asked, planned, monkeypatch):
    assert [box.currentData() for box, _ in asked.fields] == ["learning_rate", "lora_rank", "epochs", ""]
    _, line = asked.fields[0]
    line.setText("fast")
    line.textEdited.emit("fast")
    qtbot.waitUntil(lambda: not asked.start.isEnabled() and not asked._task.is_busy(), timeout=20_000)
    assert asked.designed is None
    line.setText("1e-4, 2e-4")
    line.textEdited.emit("")
    qtbot.waitUntil(asked.start.isEnabled, timeout=20_000)
    monkeypatch.setattr(queue, "start_next", lambda: None)  # its trial waits
    asked.start.click()
    qtbot.waitUntil(lambda: len(queue.entries()) == 1, timeout=20_000)
    assert asked.search.fields["learning_rate"] == "1e-4, 2e-4"
    asked.toggle.click()
    qtbot.waitUntil(lambda: asked.search.state == search.STOPPED, timeout=20_000)
    assert queue.entries() == [] and asked.toggle.isEnabled()


def test_what_was_tried_is_shown_and_the_best_goes_into_the_plan(qtbot, asked, planned):
    ended_search(asked)
    asked.other.click()
    asked.close()
    asked.open()
    qtbot.waitUntil(lambda: asked.search is not None and asked.use.isEnabled(), timeout=20_000)
    assert [row[2].text for row in asked.table.figures.rows] == ["1.000", "2.000", "–"]
    qtbot.waitUntil(lambda: asked.plot is not None, timeout=20_000)
    assert list(asked.plot.curves["0"].y) == [2.0, 1.0]
    asked.use.click()
    assert planned.planning.overrides["learning_rate"] == 5e-4
