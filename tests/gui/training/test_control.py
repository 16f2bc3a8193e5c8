"""The hand on a run at work: free its memory, change it, agree to what it asks, and read what it did by itself."""

from __future__ import annotations

import pytest
from PySide6.QtWidgets import QLineEdit, QMessageBox, QPushButton
from support import training_window
from support.training_window import ENDLESS, button, chip, commands, feed, wait_for_steps
from support.window import press

from slmstudio.core.jobs.job import Job
from slmstudio.core.run import adjust
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.event_text import event_text
from slmstudio.core.run.history import RunHistory
from slmstudio.gui.training.followed import as_it_is

tab, planned, run = training_window.tab, training_window.planned, training_window.run


def test_pause_and_free_memory_ends_the_worker_and_resume_goes_on(qtbot, tab, run, play):
    play(ENDLESS)
    job = run()
    tab.followed.follow(job, start_worker=True)
    wait_for_steps(qtbot, tab)
    press(qtbot, tab, "pause_more")
    assert [action.text() for action in tab.run.controls.menu.actions()] == ["Pause", "Pause and free memory"]
    tab.run.controls.free_action.trigger()
    tab.run.controls.menu.close()
    assert chip(tab) == "pausing"
    qtbot.waitUntil(lambda: not tab.followed.is_running() and chip(tab) == "paused")
    assert commands(job.folder)[-1]["command"] == "free" and Job(job.folder).outcome().state == "paused"
    assert button(tab, "resume_run").isVisible() and not tab.run.banner.isVisible()
    assert "memory is free" in tab.run.end_row.note.text() and not button(tab, "export").isVisible()
    qtbot.waitUntil(lambda: not job.is_alive())
    reached = tab.followed.history.step
    press(qtbot, tab, "resume_run")
    qtbot.waitUntil(lambda: tab.followed.is_running() and tab.followed.history.step > reached)
    steps = list(tab.followed.history.series["train_loss"].x)
    assert steps == list(range(1, len(steps) + 1))


def test_stop_asks_when_nothing_would_be_kept_and_the_bar_stands_still_then(qtbot, tab, run, play):
    play("start load wait:stop cancelled")
    job = run()
    tab.followed.follow(job, start_worker=True)
    qtbot.waitUntil(lambda: tab.followed.history.phase != "")
    press(qtbot, tab, "stop")
    box = tab.findChild(QMessageBox)
    assert box.isVisible() and box.defaultButton() is box.button(QMessageBox.StandardButton.Cancel)
    box.button(QMessageBox.StandardButton.Cancel).click()
    assert tab.followed.is_running() and not tab.run.controls.stopping and commands(job.folder) == []
    press(qtbot, tab, "stop")
    tab.findChildren(QPushButton, "stop_unkept")[-1].click()
    qtbot.waitUntil(lambda: chip(tab) == "cancelled")
    assert commands(job.folder)[-1]["command"] == "stop" and tab.run.bar.maximum() > 0


def test_memory_of_a_paused_run_can_be_freed(qtbot, tab, run, play):
    play(ENDLESS)
    tab.followed.follow(run(), start_worker=True)
    wait_for_steps(qtbot, tab)
    press(qtbot, tab, "pause")
    qtbot.waitUntil(lambda: chip(tab) == "paused" and not tab.run.controls.pause_action.isVisible())
    tab.run.controls.free_action.trigger()
    qtbot.waitUntil(lambda: not tab.followed.is_running() and chip(tab) == "paused")


def test_pause_is_seen_before_the_step_ends(qtbot, tab, run, play):
    play(ENDLESS)
    tab.followed.follow(run(), start_worker=True)
    wait_for_steps(qtbot, tab)
    controls, clock = tab.run.controls, tab.run.clock.text()
    press(qtbot, tab, "pause")  # and no event of the worker can have come meanwhile
    assert controls.pausing and not controls.pause_button.isEnabled() and controls.stop_button.isEnabled()
    assert chip(tab) == "pausing" and tab.run.clock.text() != clock
    qtbot.waitUntil(lambda: chip(tab) == "paused")
    assert not controls.pausing and controls.pause_button.isEnabled()


def fill(qtbot, tab, name: str, text: str) -> None:
    editor = tab.findChild(QLineEdit, name)
    editor.selectAll()
    qtbot.keyClicks(editor, text)


def test_learning_rate_and_length_change_while_it_learns(qtbot, tab, run, play):
    play(ENDLESS)
    job = run(learning_rate=2e-4)
    tab.followed.follow(job, start_worker=True)
    wait_for_steps(qtbot, tab)
    press(qtbot, tab, "change")
    assert tab.run.change.isVisible() and tab.run.change.rate.text() == "2e-4"
    fill(qtbot, tab, "change_rate", "1e-4")
    fill(qtbot, tab, "change_length", "5")
    press(qtbot, tab, "change_apply")
    qtbot.waitUntil(lambda: bool(tab.followed.history.changes))
    sent = {key: value for key, value in commands(job.folder)[-1].items() if key not in ("protocol", "time")}
    assert sent == {"command": "change", "learning_rate": 1e-4, "epochs": 5.0}
    assert not tab.run.change.isVisible() and tab.followed.history.total_steps == 500
    assert "learning rate 1e-4, 500 steps" in feed(tab)
    qtbot.waitUntil(lambda: tab.plan.config.learning_rate == 1e-4)
    assert "You changed this at step" in tab.plan.rows["learning_rate"].reason.text()
    qtbot.waitUntil(lambda: tab.run.plots is not None and bool(tab.run.plots.loss.marks.shown))
    assert tab.run.plots.loss.marks.shown[0].text == "learning rate 1e-4, 500 steps"


def test_what_is_not_touched_is_not_sent_and_what_is_wrong_is_said(qtbot, tab, run, play):
    play(ENDLESS)
    job = run()
    tab.followed.follow(job, start_worker=True)
    wait_for_steps(qtbot, tab, 12)
    press(qtbot, tab, "change")
    fill(qtbot, tab, "change_rate", "fast")
    press(qtbot, tab, "change_apply")
    assert "number" in tab.run.change.problem.text() and tab.run.change.isVisible()
    fill(qtbot, tab, "change_rate", "3")
    press(qtbot, tab, "change_apply")
    assert "at most 1" in tab.run.change.problem.text()
    press(qtbot, tab, "change_cancel")
    press(qtbot, tab, "change")
    unit = tab.run.change.unit
    unit.setCurrentIndex(1)
    unit.activated.emit(1)
    fill(qtbot, tab, "change_length", "10")
    press(qtbot, tab, "change_apply")
    assert "already done" in tab.run.change.problem.text()
    fill(qtbot, tab, "change_length", "90000")
    press(qtbot, tab, "change_apply")
    qtbot.waitUntil(lambda: tab.followed.history.total_steps == 90_000)
    assert "learning_rate" not in commands(job.folder)[-1]


def test_a_refused_change_says_why_in_the_tab(qtbot, tab, run, play):
    play('start load plan:1000 steps:20 event:{"type":"warning","code":"change_refused","message":"Too_late."} '
         "wait:stop")
    tab.followed.follow(run(), start_worker=True)
    qtbot.waitUntil(lambda: tab.run.remark.isVisible())
    assert tab.run.remark.text() == "Too_late." and "Too_late." in feed(tab)


def test_without_a_lever_left_the_person_is_asked_and_the_run_goes_on(qtbot, tab, run, play):
    play("start load plan:400 steps:20 consent:512")
    job = run()
    tab.followed.follow(job, start_worker=True)
    qtbot.waitUntil(lambda: chip(tab) == "failed")
    assert tab.run.banner.isVisible() and "Memory ran out" in tab.run.banner.error.what
    assert button(tab, "consent").text() == "Continue with 512 tokens" and button(tab, "consent").isVisible()
    assert not button(tab, "resume_run").isVisible()
    play("start load plan:40 steps:40 finish")
    press(qtbot, tab, "consent")
    qtbot.waitUntil(lambda: chip(tab) == "finished")
    assert adjust.load(job.folder)["values"] == {"max_length": 512}
    assert not tab.run.banner.isVisible() and not tab.banner.isVisible()


def test_what_the_run_did_by_itself_is_told_in_words(qtbot, tab, run, play):
    play("start adjusted load plan:200 overfit:40 sleepless asleep:7200 spill steps:120 early best:40 finish")
    tab.followed.follow(run(), start_worker=True)
    qtbot.waitUntil(lambda: chip(tab) == "finished")
    lines, told = feed(tab), [event_text(event) for event in tab.followed.history.told]
    assert len(told) > 12 and all(text in lines for text in told)
    assert tab.run.remark.isVisible() and "Memory ran out" in tab.run.remark.text()
    assert "weights of step 40" in tab.run.end_row.note.text()
    tab.run.end_row.pages.set_current(1)
    qtbot.waitUntil(lambda: tab.run.plots is not None and bool(tab.run.plots.loss.marks.shown))
    mark = tab.run.plots.loss.marks.shown[0]
    assert (mark.x, mark.text) == (40.0, "lowest eval loss, step 40")


@pytest.mark.parametrize(("events", "values"), [
    ([{"type": "changed", "learning_rate": 1e-5, "total_steps": 9, "asked": {"max_steps": 9}}],
     {"learning_rate": 2e-4, "max_steps": 9}),
    ([{"type": "changed", "learning_rate": 1e-5, "total_steps": 9, "asked": {"max_steps": 9}},
      {"type": "changed", "learning_rate": 1e-5, "total_steps": 20, "asked": {"epochs": 2, "learning_rate": 1e-5}}],
     {"learning_rate": 1e-5, "max_steps": None, "epochs": 2.0}),
    ([{"type": "adjusted", "changes": {"micro_batch_size": 1, "of_a_later_version": 3, "max_length": None}}],
     {"micro_batch_size": 1, "max_length": 1024}),
])
def test_what_holds_now_is_the_plan_with_what_came_later(events, values):
    history = RunHistory()
    for event in events:
        history.add(event)
    config = as_it_is(RunConfig(name="n", model="m", train_file="t"), history)
    assert {name: getattr(config, name) for name in values} == values
