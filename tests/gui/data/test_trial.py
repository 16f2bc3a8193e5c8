"""Trying a model on the rows before anything is trained."""

from __future__ import annotations

import pytest
from support.data_window import open_files, press
from support.window import settle

from slmstudio.core.evaluation import rivals
from slmstudio.core.evaluation.request import TRIAL_ROWS
from slmstudio.core.evaluation.scoring import read_scores
from slmstudio.core.model.facts import read_model

NAMES = ["base", "prompt", "retrieval"]


@pytest.fixture
def file(write_rows):
    """Enough rows that thirty of them are held out."""
    return write_rows("forms.jsonl", [{"instruction": f"Where is form {number}?", "output": f"At window {number}."}
                                      for number in range(320)])


@pytest.fixture
def card(qtbot, session, tab, file, tiny_model):
    """The card, open, with the chosen model."""
    open_files(qtbot, tab, file)
    session.set_model(read_model(tiny_model))
    press(qtbot, tab, "trial_open")
    found = tab.workspace().desk.trial
    qtbot.waitUntil(lambda: found.isVisible() and found.start.isEnabled(), timeout=60_000)
    yield found
    if found.running.followed.thread is not None:
        found.running.followed.thread.end_now()
        found.running.followed.thread.wait()


def begin(qtbot, tab, card) -> None:
    press(qtbot, tab, "trial_start")
    followed = card.running.followed
    qtbot.waitUntil(lambda: followed.is_running() and followed.history.phase == "starting", timeout=60_000)


def test_a_model_is_tried_and_what_it_reached_is_there_when_the_rows_are_opened_again(
        qtbot, session, tab, new_tab, card, file, tiny_model, play, unexplained, wanted_pages):
    assert card.model.currentData()[0] == str(tiny_model) and card.estimate.text().startswith("90 answers: ")
    assert unexplained(tab.workspace().datasets) == unexplained(card) == []
    play("start wait:resume answers")
    begin(qtbot, tab, card)
    job = card.running.followed.job
    request = job.request()
    assert [each["name"] for each in request["models"]] == NAMES and (request["limit"], TRIAL_ROWS) == (30, 30)
    assert card.running.strip.isVisible() and not card.start.isEnabled() and session.job.name == "Evaluating forms"
    card.running.followed.send("resume")
    qtbot.waitUntil(card.result.isVisible, timeout=60_000)
    assert card.result.marked() == "retrieval" and not card.running.strip.isVisible()
    told = card.open.text()
    assert told.startswith("Untrained: ")
    assert card.result.sentence.text() == rivals.sentence(read_scores(job.folder))
    (job.folder / "context-rows.jsonl").write_text('{"messages": []}\n')
    press(qtbot, tab, "rivals_use")
    qtbot.waitUntil(lambda: ("chat", "open_models", ([job.folder],)) in wanted_pages)
    press(qtbot, tab, "trial_close")
    assert not card.isVisible() and (job.folder / "assistant.json").is_file()
    other = new_tab()
    open_files(qtbot, other, file)
    qtbot.waitUntil(lambda: other.workspace().desk.trial.open.text() == told, timeout=60_000)
    other.workspace().split.share.setValue(20)
    qtbot.waitUntil(lambda: other.workspace().desk.trial.open.text() == "Try without training", timeout=60_000)


def test_a_trial_can_be_cancelled_and_says_why_it_failed(qtbot, tab, card, play):
    play("start wait:cancel cancelled")
    begin(qtbot, tab, card)
    press(qtbot, tab, "evaluation_cancel")
    qtbot.waitUntil(lambda: not card.running.followed.is_running() and card.start.isEnabled(), timeout=60_000)
    assert not card.running.banner.isVisible() and card.result.isHidden()
    play("start load error")
    press(qtbot, tab, "trial_start")
    qtbot.waitUntil(card.running.banner.isVisible, timeout=60_000)
    settle()
    assert card.result.isHidden() and card.open.text() == "Try without training"
