"""Several cards are ticked in the plan; the dialog of several machines asks, waits and says what is wrong."""

from __future__ import annotations

import dataclasses

import pytest
from PySide6.QtGui import QGuiApplication

from slmstudio.core.errors import UserError
from slmstudio.core.hardware.machine import Gpu, Machine
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.launch.invitation import Invitation
from slmstudio.gui.training.several.cards import CardsSection
from slmstudio.gui.training.several.machines import MachinesDialog

CARD = Gpu(0, "NVIDIA GeForce RTX 4090", 24 * 1024**3, 23 * 1024**3, (8, 9))
ONE = Machine("Linux", "a processor", 4, 8, 32 * 1024**3, 16 * 1024**3, (CARD,), False, False)
TWO = dataclasses.replace(ONE, gpus=(CARD, dataclasses.replace(CARD, index=1)))
PLAN = RunConfig(name="x", model="m", train_file="t")
INVITED = Invitation("192.168.1.20", 29500, "9f3a7c2be1d04a55")


@pytest.fixture
def section(qtbot, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
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
    assert dialog.state.text() == "Waiting for machines: 1 of 3 are there." and dialog.stop.isVisible()
    dialog.command.copy.click()
    assert QGuiApplication.clipboard().text().endswith("join 192.168.1.20:29500 --id 9f3a7c2be1d04a55")
    dialog.show_machines({"joined": 2, "wanted": 3, "machines": [
        {"host": "desk", "state": "joined", "message": ""},
        {"host": "attic", "state": "refused", "message": "it has another model."},
        {"host": "cellar", "state": "left", "message": ""}]})
    assert dialog.list.text() == ("✓ This machine\n✓ desk has joined.\n✗ attic can't take part. it has another model."
                                  "\n– cellar left again.")
    dialog.show_machines({"joined": 3, "wanted": 3, "machines": []})
    assert dialog.state.text() == "All 3 machines are there. Training begins." and not dialog.stop.isVisible()


def test_what_went_wrong_is_shown_and_one_can_ask_again(dialog):
    dialog.show_waiting(INVITED, 2)
    dialog.show_error(UserError("This machine can't wait there."))
    assert dialog.banner.isVisible() and dialog.go.isVisible() and dialog.go.isEnabled()
    assert not dialog.stop.isVisible()
