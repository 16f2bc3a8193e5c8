"""What looks after the machine, in the Training tab: why a run rests, how that is changed, and what is advised."""

from __future__ import annotations

from datetime import datetime

import pytest
from PySide6.QtCore import QTime
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QFrame, QLineEdit, QToolButton
from support import training_window
from support.training_window import button, chip, commands, feed, wait_for_steps
from support.window import press, text

from slmstudio.core.run import adjust
from slmstudio.core.run import guard_summary as guard_settings
from slmstudio.gui.training.guard_section import GuardSection

tab, run = training_window.tab, training_window.run


def shown(tab, name: str) -> bool:
    return tab.findChild(QFrame, name).isVisible()


def sent(job) -> dict[str, object]:
    return {key: value for key, value in commands(job.folder)[-1].items() if key not in ("protocol", "time")}


def follow(qtbot, tab, job, chip_text: str) -> None:
    tab.followed.follow(job, start_worker=True)
    qtbot.waitUntil(lambda: chip(tab) == chip_text)


def test_a_rest_says_why_since_when_and_until_when_whichever_tab_is_open(qtbot, tab, session, run, play):
    play("start cards:1 load plan:400 steps:12 guard_rest:heat wait:pause guard_resume steps:20 wait:stop")
    job = run()
    follow(qtbot, tab, job, "resting")
    since = datetime.fromtimestamp(tab.followed.history.guard.resting["time"])
    why = tab.followed.history.guard.resting["message"]
    assert text(tab, "rest_why") == f"Resting since {since:%H:%M}. {why}"
    assert shown(tab, "rest_bar") and not button(tab, "train_anyway").isVisible(), "nobody trains on against the heat"
    assert "of work left" in tab.run.clock.text() and why in tab.run.chip.toolTip()
    assert (session.job.text, session.job.alarming) == ("resting until it has cooled to 73 °C", True)
    assert session.job.config.name == "helpdesk" and why in feed(tab)
    job.send("pause")
    qtbot.waitUntil(lambda: chip(tab) == "running")
    assert not shown(tab, "rest_bar") and "4 min 1 s" in feed(tab)
    assert (session.job.text, session.job.alarming) == ("", False) and "of work left" not in tab.run.clock.text()


@pytest.mark.parametrize(("why", "asked", "words"), [
    ("hours", {"train_hours": None}, "resting until its hours start"),
    ("battery", {"pause_on_battery": False}, "resting until it is plugged in")])
def test_a_person_may_train_all_the_same(qtbot, tab, session, run, play, why, asked, words):
    play(f"start no_gpu load plan:400 steps:4 guard_rest:{why} wait:stop")
    job = run(train_hours="22:00-06:00", pause_on_battery=True)
    follow(qtbot, tab, job, "resting")
    assert session.job.text == words
    press(qtbot, tab, "train_anyway")
    qtbot.waitUntil(lambda: chip(tab) == "running")
    assert sent(job) == {"command": "guard", **asked}
    name, value = next(iter(asked.items()))
    assert getattr(tab.plan.config, name) == value and "changed this at step 4" in tab.plan.rows[name].reason.text()


def test_a_run_that_waits_for_its_hours_before_it_begins_can_be_told_to(qtbot, tab, run, play):
    play('start no_gpu guard_rest:hours event:{"type":"phase","phase":"waiting"} wait:guard load plan:9 steps:9 finish')
    job = run(train_hours="22:00-06:00")
    follow(qtbot, tab, job, "resting")
    press(qtbot, tab, "train_anyway")
    qtbot.waitUntil(lambda: chip(tab) == "finished")
    assert not shown(tab, "rest_bar") and not tab.run.guard_button.isVisible()


def test_a_held_temperature_is_told_beside_a_run_that_runs(qtbot, tab, session, run, play):
    play("start cards:1 load plan:400 steps:12 guard_rest:hold steps:4 wait:stop")
    tab.followed.follow(run(), start_worker=True)
    qtbot.waitUntil(lambda: shown(tab, "rest_bar") and tab.followed.history.step == 16)
    assert chip(tab) == "running" and session.job.text == ""
    assert text(tab, "rest_why") == "Holding 78 °C with a short rest after each step. It is training 71% of the time."


def test_what_looks_after_the_machine_changes_while_it_learns(qtbot, tab, run, play):
    play(training_window.ENDLESS)
    job = run(heat_limit_c=85)
    tab.followed.follow(job, start_worker=True)
    wait_for_steps(qtbot, tab)
    press(qtbot, tab, "change_guard")
    editor = tab.run.guard.editor
    assert editor.isVisible() and editor.limit.text() == "85" and not editor.hours.check.isChecked()
    editor.limit.setText("300")
    press(qtbot, tab, "guard_apply")
    qtbot.waitUntil(lambda: editor.problem.isVisible() and editor.apply.isEnabled())
    assert all(figure in editor.problem.text() for figure in ("300", "40", "110"))
    assert not [each for each in commands(job.folder) if each["command"] == "guard"]
    editor.limit.clear()
    editor.mode.setCurrentIndex(editor.mode.findData("hold"))
    editor.hours.check.click()
    editor.hours.end.setTime(QTime(7, 30))
    press(qtbot, tab, "guard_apply")
    qtbot.waitUntil(lambda: bool(tab.followed.history.guard.changes))
    assert sent(job) == {"command": "guard", "heat_guard": "hold", "heat_limit_c": None, "train_hours": "22:00-07:30"}
    assert editor.isHidden() and "Only between these hours: 22:00-07:30" in feed(tab)
    press(qtbot, tab, "change_guard")
    assert editor.mode.currentData() == "hold" and editor.hours.value() == "22:00-07:30"
    before = len(commands(job.folder))
    press(qtbot, tab, "guard_apply")
    assert editor.isHidden() and len(commands(job.folder)) == before, "what is not touched is not sent"


def test_what_was_changed_between_two_starts_holds(qtbot, tab, run, play):
    job = run(heat_limit_c=85)
    guard_settings.ask(job, {"heat_limit_c": 70})
    assert adjust.load(job.folder)["values"] == {"heat_limit_c": 70}
    play(training_window.ENDLESS)
    tab.followed.follow(job, start_worker=True)
    wait_for_steps(qtbot, tab)
    press(qtbot, tab, "change_guard")
    assert tab.run.guard.editor.limit.text() == "70"


def test_the_advised_command_can_be_copied(qtbot, tab, run, play):
    play("start cards:1 load plan:400 steps:4 advice wait:stop")
    tab.followed.follow(run(), start_worker=True)
    qtbot.waitUntil(lambda: shown(tab, "power_advice"))
    assert "136 W instead of 170 W" in text(tab, "power_advised") and "136 W instead of 170 W" in feed(tab)
    assert tab.findChild(QLineEdit, "power_command").text() == "sudo nvidia-smi -i 0 -pl 136"
    tab.run.guard.command.copy.click()
    assert QGuiApplication.clipboard().text() == "sudo nvidia-smi -i 0 -pl 136"
    tab.feed.feed_view.setCurrentIndex(tab.feed.feed.index(0))
    tab.feed.copy_events()
    assert "Type in a terminal: sudo nvidia-smi" in QGuiApplication.clipboard().text()
    tab.findChild(QToolButton, "power_advice_close").click()
    tab.followed.moved.emit([])
    assert not shown(tab, "power_advice"), "hidden once, it stays so"


def test_a_lost_card_is_told_whichever_tab_is_open(qtbot, tab, session, run, play):
    play("start cards:2 load plan:400 steps:4 lost wait:stop")
    tab.followed.follow(run(), start_worker=True)
    qtbot.waitUntil(lambda: session.job is not None and session.job.alarming)
    assert session.job.text == "a GPU has stopped responding" and "The GPU is lost." in feed(tab)


def test_every_control_has_a_name_and_a_tooltip(qtbot, qapp, unexplained):
    section = GuardSection()
    qtbot.addWidget(section)
    assert unexplained(section) == []
