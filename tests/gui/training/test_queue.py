"""The queue, and going on from a result."""

from __future__ import annotations

import shutil

import pytest
from PySide6.QtCore import QPoint, QRect, Qt
from PySide6.QtWidgets import QApplication, QLabel, QToolButton
from support import training_window
from support.training_window import ENDLESS, button, chip, choose, wait_for_plan, wait_for_steps
from support.window import press

from slmstudio.core import units
from slmstudio.core.data import reader
from slmstudio.core.run import folder, queue
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.planning.follow_up import follow_up
from slmstudio.gui.common.widgets.keys import is_destructive, let_enter_press

tab, planned, run = training_window.tab, training_window.planned, training_window.run


def waiting(tab) -> list[str]:
    """Names in the queue's card, from the top."""
    return [label.text() for label in tab.queue_card.findChildren(QLabel, "queue_name")]


def press_in_queue(qtbot, tab, key: str, row: int) -> None:
    qtbot.mouseClick(tab.queue_card.findChildren(QToolButton, f"queue_{key}")[row],
                     Qt.MouseButton.LeftButton)


NAMES = ("show_code", "save_plan", "plan_other", "start", "queue", "stop")


def places(qtbot, tab) -> dict[str, QRect]:
    """Where the buttons below the plan lie that are shown."""
    qtbot.waitUntil(lambda: not tab.planning.is_busy())
    looks: list[dict[str, QRect]] = []

    def settled() -> bool:
        QApplication.processEvents()  # what the layouts put off
        shown = [button(tab, name) for name in NAMES if button(tab, name).isVisible()]
        looks.append({each.objectName(): QRect(each.mapTo(tab, QPoint()), each.size()) for each in shown})
        return len(looks) > 2 and looks[-1] == looks[-2] == looks[-3]

    qtbot.waitUntil(settled)
    return looks[-1]


def test_no_button_comes_up_where_another_one_was(qtbot, planned, play):
    seen = [places(qtbot, planned)]
    play("start no_gpu load plan:100000 steps:100000@2")
    press(qtbot, planned, "start")
    wait_for_steps(qtbot, planned)
    seen.append(places(qtbot, planned))
    press(qtbot, planned, "plan_other")
    seen.append(places(qtbot, planned))
    assert button(planned, "plan_other").text() == "Back to the run"
    press(qtbot, planned, "plan_other")
    press(qtbot, planned, "stop")
    assert not button(planned, "stop").isEnabled(), "a second click on it must not end the process"
    qtbot.waitUntil(lambda: not planned.followed.is_running())
    seen.append(places(qtbot, planned))
    press(qtbot, planned, "plan_other")
    seen.append(places(qtbot, planned))
    run_page, plan_page = {"show_code", "save_plan", "plan_other"}, set(NAMES) - {"stop"}
    assert [set(each) for each in seen] == [
        plan_page - {"plan_other"}, run_page | {"stop"}, plan_page, run_page, plan_page]
    for one in seen:
        for other in seen:
            for name, rect in one.items():
                assert all(name == another or not rect.intersects(there) for another, there in other.items())
                assert abs(other.get(name, rect).left() - rect.left()) <= 2  # its text may be a little wider
                assert (other.get(name, rect).top(), other.get(name, rect).height()) == (rect.top(), rect.height())


@pytest.fixture
def busy(qtbot, planned, play):
    """A planned tab whose run is at work."""
    play(ENDLESS)
    planned.planning.decide("name", "first")
    press(qtbot, planned, "start")
    wait_for_steps(qtbot, planned)
    return planned


def test_while_a_run_is_at_work_the_next_ones_are_planned_and_wait(qtbot, busy):
    assert busy.plan.config.name == "first" and not busy.planning.active
    assert not button(busy, "queue").isVisible() and not busy.queue_card.isVisible()
    press(qtbot, busy, "plan_other")
    wait_for_plan(qtbot, busy)
    assert busy.planning.active and not button(busy, "start").isEnabled() and button(busy, "queue").isVisible()
    busy.planning.decide("name", "दूसरा")
    press(qtbot, busy, "queue")  # the plan is still being made
    qtbot.waitUntil(lambda: waiting(busy) == ["दूसरा"])
    assert "“दूसरा” is waiting in the queue." in busy.plan.buttons.note.text()
    (takes,) = busy.queue_card.findChildren(QLabel, "queue_run_time")
    assert takes.text() == units.format_about(busy.next.queue.entries[0].time.likely) and not busy.queue_card.sum.text()
    choose(busy, "method", "full")
    wait_for_plan(qtbot, busy)
    press(qtbot, busy, "queue")
    qtbot.waitUntil(lambda: len(waiting(busy)) == 2)
    assert busy.queue_card.sum.text()
    assert [RunConfig.from_dict(folder.jobs.Job(entry.folder).request()).method for entry in queue.entries()] == [
        "lora", "full"]
    press(qtbot, busy, "plan_other")
    assert busy.plan.config.name == "first" and not busy.planning.active


def test_the_queue_is_put_in_order_and_thinned_out(qtbot, busy, run):
    for name in ("a", "b", "c"):
        queue.add(run(name).folder)
    busy.next.queue.refresh()
    qtbot.waitUntil(lambda: waiting(busy) == ["a", "b", "c"])
    press_in_queue(qtbot, busy, "down", 0)
    qtbot.waitUntil(lambda: waiting(busy) == ["b", "a", "c"])
    press_in_queue(qtbot, busy, "up", 2)
    qtbot.waitUntil(lambda: waiting(busy) == ["b", "c", "a"])
    press_in_queue(qtbot, busy, "remove", 1)
    qtbot.waitUntil(lambda: waiting(busy) == ["b", "a"])
    assert not button(busy, "queue_start").isVisible()


def test_the_next_run_starts_by_itself_and_is_followed(qtbot, tab, run, play, session):
    play("start load plan:100 steps:100@5 finish")
    first, second = run("first"), run("second")
    queue.add(second.folder)
    tab.followed.follow(first, start_worker=True)
    wait_for_steps(qtbot, tab)
    play("start load plan:10 steps:10 finish")
    qtbot.waitUntil(lambda: tab.followed.job.folder == second.folder and chip(tab) == "finished")
    assert session.run.folder == second.folder
    qtbot.waitUntil(lambda: not tab.queue_card.isVisible())
    assert folder.summarise(first.folder).state == "finished" and not tab.banner.isVisible()


def test_a_run_that_failed_is_told_and_the_queue_goes_on(qtbot, tab, run, play):
    play("start load plan:100 steps:50@5 error")
    queue.add(run("second").folder)
    tab.next.queue.refresh()
    qtbot.waitUntil(lambda: waiting(tab) == ["second"])
    tab.followed.follow(run("first"), start_worker=True)
    wait_for_steps(qtbot, tab)
    play("start load plan:10 steps:10 finish")
    qtbot.waitUntil(lambda: tab.followed.config.name == "second" and chip(tab) == "finished")
    assert tab.banner.isVisible() and "“first” has ended. Memory ran out" in tab.banner.error.what


def test_freed_memory_is_not_given_to_the_next_run(qtbot, tab, run, play):
    play(ENDLESS)
    queue.add(run("second").folder)
    tab.followed.follow(run("first"), start_worker=True)
    wait_for_steps(qtbot, tab)
    tab.next.queue.refresh()
    tab.run.controls.free_action.trigger()
    qtbot.waitUntil(lambda: not tab.followed.is_running())
    qtbot.waitUntil(lambda: button(tab, "queue_start").isVisible() and chip(tab) == "paused")
    assert waiting(tab) == ["second"]
    qtbot.waitUntil(lambda: not tab.followed.job.is_alive())
    play("start load plan:10 steps:10 finish")
    press(qtbot, tab, "queue_start")
    qtbot.waitUntil(lambda: tab.followed.config.name == "second" and chip(tab) == "finished")


def test_space_after_start_next_ends_nothing(qtbot, tab, run, play):
    play(ENDLESS)
    queue.add(run("next").folder)
    tab.next.queue.refresh()
    qtbot.waitUntil(lambda: waiting(tab) == ["next"])
    tab.activateWindow()
    qtbot.waitUntil(tab.isActiveWindow)
    let_enter_press(QApplication.instance())
    button(tab, "queue_start").setFocus()
    qtbot.keyClick(button(tab, "queue_start"), Qt.Key.Key_Space)
    wait_for_steps(qtbot, tab)
    focused = QApplication.focusWidget()
    assert focused is not None and focused.isVisible() and not is_destructive(focused)
    qtbot.keyClick(focused, Qt.Key.Key_Space)
    assert not tab.run.controls.stopping and tab.followed.is_running()


def test_a_damaged_queue_is_said_in_the_tab(qtbot, tab):
    queue.queue_file().parent.mkdir(parents=True, exist_ok=True)
    queue.queue_file().write_text('{"runs": 3}')
    tab.next.queue.refresh()
    qtbot.waitUntil(tab.banner.isVisible)
    assert "damaged" in tab.banner.error.what


@pytest.fixture
def finish(qtbot, planned, play):
    """`finish(lora_rank=4)`: the folder of a run that was planned with these values, and has ended."""
    def make(**values):
        play("start no_gpu load plan:40 steps:40 finish")
        for name, value in values.items():
            planned.planning.decide(name, str(value))
        qtbot.waitUntil(lambda: all(getattr(planned.planning.config, name) == value for name, value in values.items()))
        press(qtbot, planned, "start")
        qtbot.waitUntil(lambda: chip(planned) == "finished")
        return planned.followed.job.folder

    return make


def test_going_on_with_more_data(qtbot, planned, session, finish, write_rows):
    finished, rate = finish(name="helpdesk"), planned.planning.config.learning_rate
    press(qtbot, planned, "more_data")
    qtbot.waitUntil(lambda: planned.plan.config.start_from == str(finished))
    config = planned.planning.config
    assert config.name == "helpdesk-2" and config.learning_rate == rate / 2
    assert "Continues from what “helpdesk” learned" in planned.plan.buttons.note.text()
    assert config.eval_fraction == RunConfig.from_dict(planned.followed.job.request()).eval_fraction
    more = write_rows("more.jsonl", [{"instruction": f"Which form {n}?", "output": f"Form {n}."} for n in range(12)])
    session.set_dataset(reader.read_dataset(more), None, 0.25, 3)
    qtbot.waitUntil(lambda: planned.planning.config.train_file == str(more))
    config = planned.planning.config
    assert (config.start_from, config.eval_fraction, config.split_seed) == (str(finished), 0.25, 3)
    assert config.reasons["eval_fraction"] == "Chosen with the data."
    session.set_dataset(reader.read_dataset(more), None, 0.1, 3)
    qtbot.waitUntil(lambda: planned.planning.config.eval_fraction == 0.1)
    config = planned.planning.config
    assert config.reasons["eval_fraction"] != "Chosen with the data.", "nobody chose that share"
    assert config.reasons["split_seed"] == "Chosen with the data." and "eval_fraction" not in config.chosen
    planned.planning.decide("epochs", "2")
    qtbot.waitUntil(lambda: planned.planning.config.epochs == 2)
    press(qtbot, planned, "plan_afresh")
    qtbot.waitUntil(lambda: planned.planning.config.start_from is None)
    assert not button(planned, "plan_afresh").isVisible() and not planned.plan.buttons.note.text()


def test_proposals_of_a_verdict_fill_in_the_plan(qtbot, planned, finish):
    """More epochs from the result, and the same run once more with another rate, keeping what a person had set."""
    finished = finish(lora_rank=4)
    planned.next.go_on_from(finished, {"epochs": 2.0})
    qtbot.waitUntil(lambda: planned.plan.config.start_from == str(finished))
    assert planned.planning.config.epochs == 2 and planned.planning.config.reasons["epochs"] == "You set this."
    planned.next.plan_again(finished, {"learning_rate": 7e-5})
    qtbot.waitUntil(lambda: planned.plan.config.start_from is None)
    config = planned.planning.config
    assert (config.learning_rate, config.lora_rank) == (7e-5, 4)
    assert config.train_file == RunConfig.from_dict(planned.followed.job.request()).train_file


def test_a_run_that_continued_another_is_planned_again_from_there(qtbot, planned, finish):
    """And by the epochs that are proposed, though the run was limited by its steps."""
    first = finish(max_steps=40)
    following = folder.create(follow_up(first, overrides={"max_steps": 30})).folder
    planned.next.plan_again(following, {"epochs": 1.5})
    qtbot.waitUntil(lambda: planned.planning.config.epochs == 1.5)
    config = planned.planning.config
    assert (config.start_from, config.max_steps) == (str(first), None)


def test_a_result_that_is_gone_cannot_be_gone_on_from(qtbot, planned, finish):
    shutil.rmtree(finish() / "adapter")
    press(qtbot, planned, "more_data")
    qtbot.waitUntil(planned.banner.isVisible)
    assert "can't be continued" in planned.banner.error.what and button(planned, "more_data").isEnabled()
