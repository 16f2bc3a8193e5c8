"""The Model tab: the list, the facts, what is refused, and the starter model."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFileDialog, QPushButton, QWidget
from support import crafted_models, model_window
from support.model_window import GIB, machine
from support.window import text

from slmstudio.core import paths
from slmstudio.core.data.reader import read_dataset
from slmstudio.core.hardware.nvml import GpuReading
from slmstudio.core.hardware.readings import MachineReading
from slmstudio.core.model import catalogue, facts, library
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.widgets.table_cells import CHIP_TEXT
from slmstudio.gui.model import known
from slmstudio.gui.model.known import ModelEntry
from slmstudio.gui.model.tab import ModelTab

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def tab(qtbot, session: Session) -> ModelTab:
    return model_window.shown(qtbot, session)


def press(qtbot, tab: QWidget, name: str) -> None:
    button = tab.findChild(QPushButton, name)
    qtbot.waitUntil(lambda: button.isVisible() and button.isEnabled())  # it is vetted first
    qtbot.mouseClick(button, LEFT)


def test_a_folder_is_opened_and_its_facts_are_shown(qtbot, tab: ModelTab, tiny_model: Path):
    press(qtbot, tab, "model_open")
    dialog = tab.findChild(QFileDialog)
    # The dialog, accepted, also names the folder that the tests run in, and that is no model's.
    with qtbot.waitSignal(tab.opened, check_params_cb=lambda entry: entry.folder == tiny_model):
        dialog.fileSelected.emit(str(tiny_model))
        dialog.accept()
    assert text(tab, "model_name") == tiny_model.name
    qtbot.waitUntil(lambda: text(tab, "model_chip").startswith("✓ vetted"))
    assert tab.card.chip.toolTip().count("✓") > 2, "what was checked"
    assert tab.card.figures.values["family"].text() == "Llama"
    assert tab.card.figures.values["folder"].text().replace("\u200b", "") == str(tiny_model)


def test_a_dropped_folder_or_its_config_is_opened(qtbot, tab: ModelTab, tiny_model: Path, drop):
    with qtbot.waitSignal(tab.opened):
        drop(tab, [tiny_model / "config.json"])
    assert text(tab, "model_name") == tiny_model.name
    count = tab.models.list.count()
    with qtbot.waitSignal(tab.opened):
        drop(tab, [tiny_model])
    assert tab.models.list.count() == count


def test_every_control_has_a_name_and_a_tooltip(tab: ModelTab, unexplained):
    assert unexplained(tab) == []


def test_use_this_model(qtbot, tab: ModelTab, session: Session, tiny_model: Path):
    with qtbot.waitSignal(tab.opened):
        tab.open_paths([tiny_model])
    with qtbot.waitSignal(session.model_changed), qtbot.waitSignal(session.page_wanted) as heard:
        press(qtbot, tab, "model_use")
    assert heard.args[0] == "training"
    assert session.model.path == tiny_model
    assert "model" in session.done
    assert tab.models.list.currentItem().data(CHIP_TEXT) == "in use"


def test_opened_models_are_remembered_until_they_are_forgotten(qtbot, tab: ModelTab, session: Session,
                                                               tiny_model: Path):
    with qtbot.waitSignal(session.settings_changed):
        tab.open_paths([tiny_model])
    assert session.settings.model_folders == [str(tiny_model)]
    session.settings.save()
    again = ModelTab(session)
    qtbot.addWidget(again)
    with qtbot.waitSignal(again.refreshed):
        pass
    assert tiny_model in [entry.folder for entry in again.entries()]
    tab.models.list.setFocus()
    with qtbot.waitSignal(session.settings_changed):
        qtbot.keyClick(tab.models.list, Qt.Key.Key_Delete)
    assert session.settings.model_folders == []
    assert tiny_model.is_dir()


def test_pickled_weights_are_refused_and_nothing_is_lost(qtbot, tab: ModelTab, tiny_model: Path, tmp_path: Path):
    with qtbot.waitSignal(tab.opened):
        tab.open_paths([tiny_model])
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    shutil.copy(tiny_model / "config.json", pickled)
    shutil.copy(tiny_model / "tokenizer.json", pickled)
    (pickled / "pytorch_model.bin").write_bytes(b"PK\x03\x04")
    with qtbot.waitSignal(tab.opened):
        tab.open_paths([pickled])
    assert tab.banner.isVisible()
    assert "pickle" in str(tab.banner.error)
    assert text(tab, "model_name") == tiny_model.name
    assert pickled not in [entry.folder for entry in tab.entries()]


def test_a_damaged_model_of_the_library_stays_on_the_list_and_says_why(qtbot, studio_home, session: Session,
                                                                       tiny_model: Path):
    broken = paths.models_dir() / "broken"
    shutil.copytree(tiny_model, broken)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    tab = ModelTab(session)
    qtbot.addWidget(tab)
    tab.show()
    with qtbot.waitSignal(tab.refreshed):
        pass
    tab.models.list.select_value(next(entry for entry in tab.entries() if entry.folder == broken))
    assert tab.models.list.currentItem().data(CHIP_TEXT) == "damaged"
    assert tab.card.banner.isVisible()
    assert not tab.findChild(QPushButton, "model_use").isVisible()


def test_the_memory_is_compared_with_what_is_free(qtbot, tab: ModelTab, session: Session, tiny_model: Path):
    with qtbot.waitSignal(tab.opened):
        tab.open_paths([tiny_model])
    assert not tab.card.fit.isVisible()
    session.set_machine(machine(None))
    qtbot.waitUntil(lambda: text(tab, "fit_verdict").startswith("It fits"))
    assert "on this machine" in text(tab, "fit_verdict")
    session.set_machine(machine(100 * 1024**2))
    qtbot.waitUntil(lambda: text(tab, "fit_verdict").startswith("It doesn't fit"))
    assert "on the GPU" in text(tab, "fit_verdict")
    qtbot.waitUntil(lambda: tab.findChild(QPushButton, "model_use").isEnabled())
    session.set_machine(machine(800 * 1024**2))
    qtbot.waitUntil(lambda: text(tab, "fit_verdict").startswith("It may just fit"))
    card = GpuReading(0, "NVIDIA GeForce RTX 3060", memory_used=2 * GIB, memory_total=12 * GIB)
    session.set_reading(MachineReading((card,)))  # another program has ended
    qtbot.waitUntil(lambda: text(tab, "fit_verdict").startswith("It fits"))
    assert "10 GB free" in text(tab, "fit_verdict")


def test_the_fit_is_that_of_the_chosen_data(qtbot, tab: ModelTab, session: Session, tiny_model: Path, rows_file: Path):
    session.set_machine(machine(None))
    with qtbot.waitSignal(tab.opened):
        tab.open_paths([tiny_model])
    qtbot.waitUntil(lambda: "sequence length 512" in tab.card.fit.title.text())
    session.set_dataset(read_dataset(rows_file))
    qtbot.waitUntil(lambda: "sequence length 512" not in tab.card.fit.title.text())
    assert tab.card.fit.isVisible()


def test_the_recommended_model_is_prepared_or_used(qtbot, studio_home, session: Session, tiny_model: Path, play):
    """Only one model is known, which isn't ready at first; nothing moves when the recommendation comes."""
    play("start wait:cancel")
    session.set_machine(machine(None))
    tab = model_window.shown(qtbot, session)
    before = tab.recommended.take.geometry()
    waiting = ModelEntry(library.starter_folder(), gguf=tiny_model / "config.json",
                         known=catalogue.find(library.STARTER_NAME))
    tab._show_recommendation([waiting], known.recommendation([waiting], None, session.machine))
    assert tab.recommended.take.text() == "Prepare" and not tab.recommended.quicker.isEnabled()
    assert tab.recommended.take.geometry().bottom() == before.bottom()
    press(qtbot, tab, "recommended_take")
    assert tab.work.target == waiting.folder and not tab.recommended.take.isEnabled()
    with qtbot.waitSignal(tab.work.changed):
        tab.work.cancel()
    here = ModelEntry(tiny_model, facts=facts.read_model(tiny_model))
    tab._show_recommendation([here], known.recommendation([here], None, session.machine))
    with qtbot.waitSignal(session.model_changed):
        press(qtbot, tab, "recommended_take")
    assert session.model.path == tiny_model


def test_a_quicker_model_is_shown(qtbot, session: Session):
    session.set_machine(machine(11 * GIB))
    tab = model_window.shown(qtbot, session)
    assert tab.recommended.take.text().startswith("Download ")
    qtbot.mouseClick(tab.recommended.quicker, LEFT)
    assert text(tab, "model_name") == tab.recommended.quicker.entry.name
    assert [each.objectName() for each in tab.findChildren(QPushButton)
            if each.property("kind") == "primary"] == ["recommended_take"]


def test_a_larger_model_that_fits_is_shown(qtbot, session: Session, tiny_model: Path):
    session.set_machine(machine(11 * GIB))
    tab = model_window.shown(qtbot, session)
    tab.show_larger(tiny_model)
    qtbot.waitUntil(lambda: tab.models.current() is tab.recommended._entry)  # larger than any tiny one
    recommended = tab.models.current()
    tab.show_larger(recommended.folder)
    qtbot.waitUntil(lambda: tab.models.current() is not recommended)
    assert tab.models.current().sizes.parameters > recommended.sizes.parameters


def test_the_starter_model_is_offered(tab: ModelTab):
    entry = tab.models.list.value()
    assert entry.folder == library.starter_folder()
    assert tab.models.list.currentItem().data(CHIP_TEXT) == "prepare"
    assert tab.findChild(QPushButton, "model_prepare").isVisible()


def test_the_starter_model_that_was_prepared_in_the_background_is_proposed(qtbot, tab, studio_home, tiny_model,
                                                                           monkeypatch):
    other = ModelEntry(studio_home / "a", facts=facts.read_model(tiny_model))
    tab.models.put([other])
    assert tab.models.is_default()
    ready = ModelEntry(library.starter_folder(), facts=facts.read_model(tiny_model))
    monkeypatch.setattr(known, "known_entries", lambda: [other, ready])
    with qtbot.waitSignal(tab.refreshed):
        tab.refresh()
    assert tab.models.current() is ready
    tab.models.list.select_value(other)
    with qtbot.waitSignal(tab.refreshed):
        tab.refresh()
    assert tab.models.current() is other, "the person looks at one of their own choice"


def test_preparing_is_cancelled(qtbot, tab: ModelTab, session: Session, play):
    play("start wait:cancel")
    press(qtbot, tab, "model_prepare")
    assert tab.card.strip.isVisible()
    assert session.job.name == "Preparing SmolLM2-135M-Instruct"
    assert not tab.findChild(QPushButton, "model_prepare").isVisible()
    with qtbot.waitSignal(tab.work.changed):
        qtbot.mouseClick(tab.card.strip.cancel, LEFT)
    assert session.job is None
    assert tab.findChild(QPushButton, "model_prepare").isVisible()


def test_preparing_that_fails_is_told_and_can_be_tried_again(qtbot, tab: ModelTab, session: Session, play):
    play("start error")
    with qtbot.waitSignal(tab.work.failed):
        press(qtbot, tab, "model_prepare")
    assert tab.banner.isVisible()
    assert session.job is None
    assert tab.findChild(QPushButton, "model_prepare").isEnabled()


def test_preparing_that_crashes_is_told(qtbot, tab: ModelTab, play):
    play("start die")
    with qtbot.waitSignal(tab.work.failed):
        press(qtbot, tab, "model_prepare")
    assert tab.banner.isVisible()


@pytest.mark.full
def test_the_starter_model_is_prepared_for_real(qtbot, tab: ModelTab, session: Session):
    with qtbot.waitSignal(tab.work.finished, timeout=110_000):
        press(qtbot, tab, "model_prepare")
    qtbot.waitUntil(lambda: tab.findChild(QPushButton, "model_use").isVisible())
    assert library.starter_ready()
    assert tab.card.figures.values["family"].text() == "SmolLM"
    assert tab.models.list.count() == 1


def test_a_tokenizer_of_another_model_is_refused_until_it_is_accepted(qtbot, tab: ModelTab, session: Session,
                                                                      tmp_path: Path, drop, unexplained):
    with qtbot.waitSignal(tab.opened):
        drop(tab, [crafted_models.honest(tmp_path / "m", {"eos_token_id": 271})])
    qtbot.waitUntil(lambda: tab.card.banner.isVisible())
    assert "another model's" in str(tab.card.banner.error) and unexplained(tab) == []
    press(qtbot, tab, "model_accept_tokenizer")
    press(qtbot, tab, "model_use")
    assert session.model is not None and "you accepted its tokenizer" in text(tab, "model_chip")
