"""Several cards are ticked in the plan; the dialog of several machines asks, waits and says what is wrong."""

from __future__ import annotations

import dataclasses

import pytest
from PySide6.QtGui import QGuiApplication
from support import training_window
from support.training_window import ENDLESS, wait_for_plan

from slmstudio.core import paths
from slmstudio.core.errors import UserError
from slmstudio.core.hardware.machine import Gpu, Machine
from slmstudio.core.jobs.outcome import Outcome
from slmstudio.core.run import launch
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.history import RunHistory
from slmstudio.gui.training.several import CardsSection, MachinesDialog
from slmstudio.gui.training.tab import TrainingTab

tab, planned, run = training_window.tab, training_window.planned, training_window.run
CARD = Gpu(0, "NVIDIA GeForce RTX 4090", 24 * 1024**3, 23 * 1024**3, (8, 9))
ONE = Machine("Linux", "a processor", 4, 8, 32 * 1024**3, 16 * 1024**3, (CARD,), False, False)
TWO = dataclasses.replace(ONE, gpus=(CARD, dataclasses.replace(CARD, index=1)))
PLAN = RunConfig(name="x", model="m", train_file="t")


@pytest.fixture
def section(qtbot):
    made = CardsSection()
    qtbot.addWidget(made)
    made.show()
    made.asked = []
    made.chosen.connect(lambda name, value: made.asked.append((name, value)))
    return made


def test_one_card_needs_no_choice(section):
    section.set_machine(ONE)
    section.show_config(PLAN, editable=True)
    assert section.boxes == [] and not section.share.isVisible() and not section.why.isVisible()
    assert section.machines.isVisible()


def test_cards_are_ticked_and_what_they_are_for_is_chosen(section):
    section.set_machine(TWO)
    section.show_config(PLAN, editable=True)
    assert [(box.text(), box.isChecked()) for box in section.boxes] == [("1: RTX 4090", True), ("2: RTX 4090", False)]
    assert not section.share.isVisible()
    section.boxes[1].click()
    section.show_config(dataclasses.replace(PLAN, processes=2), editable=True)
    assert section.share.isVisible() and "its share of each batch" in section.why.text()
    section.share.button(1).click()
    section.show_config(dataclasses.replace(PLAN, processes=2, parallelism="fsdp"), editable=True)
    assert "too big for a single card" in section.why.text()
    section.boxes[1].click()
    assert section.asked == [("processes", 2), ("parallelism", "fsdp"), ("processes", 1)]


def test_windows_says_why_one_card_trains(section):
    section.set_machine(dataclasses.replace(TWO, system="Windows"))
    section.show_config(PLAN, editable=True)
    assert not section.boxes[1].isEnabled() and "WSL2" in section.why.text()


def test_a_run_at_work_shows_its_cards_only(section):
    section.set_machine(TWO)
    section.show_config(dataclasses.replace(PLAN, processes=2), editable=False)
    assert [box.isChecked() for box in section.boxes] == [True, True]
    assert not section.boxes[1].isEnabled() and not section.share.isEnabled()


@pytest.fixture
def dialog(qtbot):
    made = MachinesDialog()
    qtbot.addWidget(made)
    made.address.clear()
    made.address.addItem("192.168.1.20")
    made.ask()
    made.show()
    return made


def waiting(joined: int, wanted: int = 3) -> RunHistory:
    """Of a run that waits for other machines."""
    history = RunHistory()
    history.add({"type": "machines", "joined": joined, "wanted": wanted, "file": "/runs/r/launch.json"})
    return history


def test_the_dialog_asks_then_shows_what_to_type_and_closes_when_all_are_there(qtbot, dialog):
    dialog.count.setValue(3)
    with qtbot.waitSignal(dialog.start_wanted) as asked:
        dialog.go.click()
    assert asked.args == [3, "192.168.1.20", 29500] and not dialog.go.isEnabled()
    dialog.update_from(waiting(1), True)
    dialog.command.copy.click()
    assert QGuiApplication.clipboard().text() == launch.commands(3) and not dialog.go.isVisible()
    all_there = waiting(1)
    all_there.add({"type": "machines", "joined": 3, "wanted": 3})
    dialog.update_from(all_there, True)
    assert not dialog.isVisible()


def test_what_went_wrong_is_shown_and_one_can_ask_again(dialog):
    dialog.update_from(waiting(1), True)
    dialog.ended(Outcome("failed", UserError("This machine can't wait there.").to_dict()))
    assert dialog.banner.isVisible() and dialog.go.isVisible() and dialog.go.isEnabled()


def test_cards_that_are_known_late_are_ticked_as_the_plan_says(section):
    section.show_config(dataclasses.replace(PLAN, processes=2), editable=True)
    section.set_machine(TWO)
    assert [box.isChecked() for box in section.boxes] == [True, True] and section.share.isVisible()
    section.set_editable(False)
    assert not section.boxes[1].isEnabled() and not section.share.isEnabled()


def open_dialog(tab: TrainingTab) -> MachinesDialog:
    dialog = tab.machines
    dialog.open()
    dialog.address.clear()
    dialog.address.addItem(launch.own_addresses()[0])
    dialog.ask()
    return dialog


def test_without_a_plan_or_beside_a_run_the_dialog_says_why_nothing_starts(qtbot, planned, session, run, play):
    dialog = open_dialog(planned)
    planned.planning.decide("epochs", "many")
    dialog.go.click()
    assert "no plan" in dialog.banner.error.what and dialog.go.isEnabled()
    planned.planning.decide("epochs", "2")
    dialog.go.click()  # the plan is being made anew
    planned.planning.decide("epochs", "many")
    assert [problem.field for problem in dialog.banner.error.problems] == ["epochs"] and dialog.go.isEnabled()
    planned.planning.propose("epochs")
    wait_for_plan(qtbot, planned)
    session.set_dataset(None)
    dialog.go.click()
    assert "no plan" in dialog.banner.error.what, "the plan before is of data that is gone"
    play(ENDLESS)
    planned.next.made.emit(run())
    dialog.go.click()
    assert "“helpdesk” is still running." in dialog.banner.error.why
    assert len(list(paths.runs_dir().iterdir())) == 1 and not planned.banner.isVisible()


def test_a_run_that_was_made_while_another_began_is_not_forgotten_silently(planned, run, play):
    play(ENDLESS)
    planned.next.made.emit(run("first"))
    planned.next.made.emit(run("second"))
    assert planned.followed.config.name == "first" and "Start it from Results" in planned.banner.error.remedy


def test_other_failures_are_not_told_in_the_dialog(planned):
    dialog = open_dialog(planned)
    planned.next.queue.failed.emit(UserError("The queue is damaged."))
    assert dialog.banner.error is None and planned.banner.error.what == "The queue is damaged."


def test_a_run_that_begins_to_wait_is_shown_once(tab):
    dialog = tab.machines
    dialog.update_from(RunHistory(), True)
    assert not dialog.isVisible()
    dialog.update_from(waiting(1), True)
    assert dialog.isVisible() and dialog.command.field.toPlainText() == launch.commands(3)
    dialog.close()
    dialog.update_from(waiting(2), True)
    assert not dialog.isVisible()
    dialog.open()
    assert dialog.command.isVisible(), "as it was when it was closed"
    dialog.update_from(waiting(2), False)
    assert not dialog.isVisible()
