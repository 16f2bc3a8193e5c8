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
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.history import RunHistory
from slmstudio.core.run.launch import invitation
from slmstudio.core.run.launch.invitation import Invitation
from slmstudio.gui.training.several.cards import CardsSection
from slmstudio.gui.training.several.machines import MachinesDialog
from slmstudio.gui.training.tab import TrainingTab

tab, planned, run = training_window.tab, training_window.planned, training_window.run
CARD = Gpu(0, "NVIDIA GeForce RTX 4090", 24 * 1024**3, 23 * 1024**3, (8, 9))
ONE = Machine("Linux", "a processor", 4, 8, 32 * 1024**3, 16 * 1024**3, (CARD,), False, False)
TWO = dataclasses.replace(ONE, gpus=(CARD, dataclasses.replace(CARD, index=1)))
PLAN = RunConfig(name="x", model="m", train_file="t")
INVITED = Invitation("192.168.1.20", 29500, "9f3a7c2be1d04a55")


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


def test_the_dialog_asks_waits_and_is_done(qtbot, dialog):
    dialog.count.setValue(3)
    with qtbot.waitSignal(dialog.start_wanted) as asked:
        dialog.go.click()
    assert asked.args == [3, "192.168.1.20", 29500] and not dialog.go.isEnabled()
    dialog.show_waiting(INVITED, 3)
    assert dialog.state.text() == "Waiting for machines: 1 of 3 have joined." and dialog.stop.isVisible()
    dialog.command.copy.click()
    assert QGuiApplication.clipboard().text().endswith("join 192.168.1.20:29500 --id 9f3a7c2be1d04a55")
    dialog.show_machines({"joined": 2, "wanted": 3, "machines": [
        {"host": "desk", "state": "joined", "message": ""},
        {"host": "attic", "state": "refused", "message": "it has another model."},
        {"host": "cellar", "state": "left", "message": ""}]})
    assert dialog.list.text() == ("✓ This machine\n✓ desk has joined.\n✗ attic can't take part. it has another model."
                                  "\n– cellar has left.")
    dialog.show_machines({"joined": 3, "wanted": 3, "machines": []})
    assert dialog.state.text() == "All 3 machines have joined. Training begins." and not dialog.stop.isVisible()


def test_what_went_wrong_is_shown_and_one_can_ask_again(dialog):
    dialog.show_waiting(INVITED, 2)
    dialog.show_error(UserError("This machine can't wait there."))
    assert dialog.banner.isVisible() and dialog.go.isVisible() and dialog.go.isEnabled()
    assert not dialog.stop.isVisible()


def test_cards_that_are_known_late_are_ticked_as_the_plan_says(section):
    section.show_config(dataclasses.replace(PLAN, processes=2), editable=True)
    section.set_machine(TWO)
    assert [box.isChecked() for box in section.boxes] == [True, True] and section.share.isVisible()
    section.set_editable(False)
    assert not section.boxes[1].isEnabled() and not section.share.isEnabled()


def open_dialog(tab: TrainingTab) -> MachinesDialog:
    tab.machines.open()
    dialog = tab.machines.dialog
    dialog.address.clear()
    dialog.address.addItem(invitation.own_addresses()[0])
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
    planned._start_made(run())
    dialog.go.click()
    assert "“helpdesk” is still running." in dialog.banner.error.why
    assert len(list(paths.runs_dir().iterdir())) == 1 and not planned.banner.isVisible()


def test_a_run_that_was_made_while_another_began_is_not_forgotten_silently(planned, run, play):
    play(ENDLESS)
    planned._start_made(run("first"))
    planned._start_made(run("second"))
    assert planned.followed.config.name == "first" and "Start it from Results" in planned.banner.error.remedy


def test_other_failures_are_not_told_in_the_dialog(planned):
    dialog = open_dialog(planned)
    planned.next.queue.failed.emit(UserError("The queue is damaged."))
    assert dialog.banner.error is None and planned.banner.error.what == "The queue is damaged."


def test_a_run_that_begins_to_wait_is_shown_once_with_the_id_of_this_start(qtbot, tab, run, play):
    job = run(nodes=3)
    first = invitation.make(job.folder, "127.0.0.1")
    invitation.take(job.folder)
    tab.machines.follow(job, RunConfig.from_dict(job.request()))
    again = invitation.take(job.folder)  # as the worker does
    history = RunHistory()
    tab.machines.update_from(history)
    assert tab.machines.dialog is None
    history.add({"type": "machines", "address": again.address, "joined": 2, "wanted": 3, "machines": []})
    tab.machines.update_from(history)
    dialog = tab.machines.dialog
    assert dialog.isVisible() and again.id in dialog.command.field.toPlainText() and first.id != again.id
    dialog.close()
    history.add({"type": "machines", "address": again.address, "joined": 1, "wanted": 3, "machines": []})
    tab.machines.update_from(history)
    assert not dialog.isVisible()
    history.add({"type": "machines", "address": again.address, "joined": 2, "wanted": 3, "machines": []})
    tab.machines.update_from(history)
    tab.machines.open()
    assert dialog.state.text() == "Waiting for machines: 2 of 3 have joined.", "as it was when it was closed"
