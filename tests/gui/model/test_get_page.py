"""A model that isn't here yet: what is told of it, fetching, pausing, the token, terms; and measuring one that is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtCore import QSignalBlocker, Qt
from PySide6.QtWidgets import QCheckBox, QLineEdit, QPushButton
from support import model_hub, model_window
from support.model_window import GIB, machine
from support.window import text

from slmstudio.core import paths
from slmstudio.core.data.reader import read_dataset
from slmstudio.core.hardware.machine import read_machine
from slmstudio.core.jobs.job import Job
from slmstudio.core.model import catalogue, library
from slmstudio.core.model.hub import place, token
from slmstudio.core.run.recommend import USUAL, rate
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.widgets.fields import put_back, typed_values
from slmstudio.gui.model import fit_view
from slmstudio.gui.model.fit_view import FitView
from slmstudio.gui.model.model_list import ALL, ON_DISK
from slmstudio.gui.model.tab import ModelTab
from slmstudio.gui.model.work import MEASURE, download

LEFT = Qt.MouseButton.LeftButton
QWEN = "Qwen/Qwen2.5-1.5B-Instruct"


@pytest.fixture
def tab(qtbot, session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelTab:
    monkeypatch.setattr(paths, "hub_tokens_file", lambda: tmp_path / "hub_tokens.json")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    session.set_machine(machine(11 * GIB))
    shown = model_window.shown(qtbot, session)
    shown.models.view.set_current(ALL)
    return shown


def look_at(tab: ModelTab, name: str) -> None:
    known = catalogue.find(name)
    tab.models.list.select_value(next(entry for entry in tab.entries() if entry.known == known))


def button(tab: ModelTab, name: str) -> QPushButton:
    return tab.findChild(QPushButton, name)


def test_a_model_is_told_before_it_is_fetched(qtbot, tab: ModelTab):
    look_at(tab, QWEN)
    known = catalogue.find(QWEN)
    assert text(tab, "model_name") == known.title
    assert [value.text() for value in tab.card.figures.values.values()][:2] == ["Qwen2", "1.54 B"]
    assert known.licence.use in text(tab, "model_licence_use")
    assert button(tab, "model_get").text().startswith("Download ")
    assert not button(tab, "model_use").isVisible()
    qtbot.waitUntil(lambda: "127.0.0.1" in text(tab, "model_get_note"))
    qtbot.waitUntil(lambda: text(tab, "fit_verdict").startswith("It fits"))
    assert [row[0] for row in tab.card.fit.cards.rows()] == ["", "Full fine-tuning", "LoRA", "QLoRA"]
    assert tab.card.fit.levers.rows()
    assert not button(tab, "fit_measure").isEnabled()


def test_cards_that_make_no_difference_are_left_out(qtbot, session: Session, tmp_path: Path):
    entry, here = catalogue.find(QWEN), read_machine()
    one = library.ListedModel(entry.facts(tmp_path), entry, None)
    view, found = FitView(), fit_view.expected(one.facts, here, rate(one, USUAL, here))
    qtbot.addWidget(view)
    view.show_fit(found)
    assert not view.cards.isHidden()
    view.show_fit(replace(found, cards=[replace(card, longest=dict.fromkeys(card.longest, 8192))
                                        for card in found.cards]))
    assert view.cards.isHidden()


def test_without_a_network_the_download_says_so_and_the_model_can_be_tried_again(qtbot, tab: ModelTab,
                                                                                 session: Session):
    look_at(tab, QWEN)
    with qtbot.waitSignal(tab.work.failed):
        qtbot.mouseClick(button(tab, "model_get"), LEFT)
    assert tab.banner.isVisible() and session.job is None
    assert button(tab, "model_get").isEnabled() and button(tab, "model_get").isVisible()


@pytest.mark.full
def test_a_model_is_found_by_its_name_fetched_vetted_and_used(qtbot, tab: ModelTab, session: Session, tmp_path: Path,
                                                              monkeypatch: pytest.MonkeyPatch):
    with model_hub.serving({"acme/tiny-model": model_hub.repository(tmp_path, 650)}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        qtbot.keyClicks(tab.models.search, "acme/tiny-model")
        qtbot.waitUntil(lambda: text(tab, "model_name") == "acme/tiny-model")
        with qtbot.waitSignal(tab.work.finished, timeout=110_000):
            qtbot.mouseClick(button(tab, "model_get"), LEFT)
    qtbot.waitUntil(lambda: text(tab, "model_chip").startswith("✓ vetted"))
    qtbot.waitUntil(lambda: text(tab, "fit_verdict").startswith("It fits"))
    qtbot.mouseClick(button(tab, "model_use"), LEFT)
    assert session.model.path == paths.models_dir() / "tiny-model"
    assert tab.models.list.currentItem().text() == "tiny-model"


def test_a_download_is_paused_and_its_beginning_is_kept(qtbot, tab: ModelTab, session: Session, play):
    look_at(tab, QWEN)
    folder = place.choose(QWEN, None)
    partial = place.partial_of(folder)
    partial.mkdir(parents=True)
    weights = place.RemoteFile("model.safetensors", 1000, "ab" * 32, "")
    place.write_record(partial, QWEN, None, "0" * 40, [weights])
    (partial / weights.incomplete).write_bytes(b"x" * 400)
    play("start wait:pause cancelled")
    qtbot.mouseClick(button(tab, "model_get"), LEFT)
    assert session.job.name == f"Downloading {folder.name}"
    assert button(tab, "model_pause").isVisible() and not button(tab, "model_get").isVisible()
    with qtbot.waitSignal(tab.work.changed):
        qtbot.mouseClick(button(tab, "model_pause"), LEFT)
    assert session.job is None
    qtbot.waitUntil(lambda: button(tab, "model_get").text() == "Resume (400 bytes of 1000 bytes downloaded)")


def test_a_window_that_closes_pauses_the_download(qtbot, tab: ModelTab, play):
    look_at(tab, QWEN)
    play("start wait:pause cancelled")
    qtbot.mouseClick(button(tab, "model_get"), LEFT)
    qtbot.waitUntil(lambda: tab.work.followed.is_running())
    with qtbot.waitSignal(tab.work.changed):
        assert tab.confirm_close()
    assert tab.work.target is None


def test_a_gated_model_asks_for_a_token_and_keeps_it(qtbot, tab: ModelTab):
    gated = next(entry for entry in catalogue.entries() if entry.gated)
    look_at(tab, gated.id)
    qtbot.waitUntil(lambda: tab.findChild(QLineEdit, "hub_token").isVisible())
    assert "accept the licence" in text(tab, "model_get_note")
    qtbot.keyClicks(tab.findChild(QLineEdit, "hub_token"), "hf_abcdefgh1234")
    qtbot.mouseClick(button(tab, "hub_token_keep"), LEFT)
    qtbot.waitUntil(lambda: "access token is kept in" in text(tab, "model_get_note"))
    assert not tab.findChild(QLineEdit, "hub_token").isVisible()
    assert token.find("http://127.0.0.1:9").value == "hf_abcdefgh1234"
    assert "hf_abcdefgh1234" not in text(tab, "model_get_note")


def reopened_with_half_a_token(qtbot, tab: ModelTab, session: Session) -> ModelTab:
    """The tab of a window that was opened again, as when the language changes, after a user began to type the token."""
    qtbot.waitUntil(lambda: tab.findChild(QLineEdit, "hub_token").isVisible())
    qtbot.keyClicks(tab.findChild(QLineEdit, "hub_token"), "hf_half")
    typed = typed_values(tab)
    new = ModelTab(session.successor())
    qtbot.addWidget(new)
    new.show()
    with qtbot.waitSignal(new.refreshed):
        put_back(new, typed)
        new.restore_state(tab.save_state())
    return new


def test_a_half_typed_token_outlasts_another_language_and_is_written_nowhere(qtbot, tab: ModelTab, session: Session,
                                                                             tmp_path: Path):
    gated = next(entry for entry in catalogue.entries() if entry.gated)
    look_at(tab, gated.id)
    new = reopened_with_half_a_token(qtbot, tab, session)
    typed = new.findChild(QLineEdit, "hub_token")
    qtbot.waitUntil(typed.isVisible)
    assert text(new, "model_name") == gated.title and typed.text() == "hf_half"
    assert typed.echoMode() == QLineEdit.EchoMode.Password
    session.settings.save()
    assert not any(b"hf_half" in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    look_at(new, QWEN)
    look_at(new, gated.id)
    assert typed.text() == "", "it was meant for that model"


def test_the_model_whose_name_is_typed_is_offered_again_with_its_token(qtbot, tab: ModelTab, session: Session):
    gated = next(entry for entry in catalogue.entries() if entry.gated)
    look_at(tab, QWEN)
    with QSignalBlocker(tab.models.view):
        tab.models.view.set_current(ON_DISK)
    tab.models.search.setText(gated.id)
    tab.models.search.setModified(True)
    new = reopened_with_half_a_token(qtbot, tab, session)
    models, typed = new.models, new.findChild(QLineEdit, "hub_token")
    qtbot.waitUntil(typed.isVisible)
    assert (models.search.text(), models.view.current()) == (gated.id, ON_DISK)
    assert text(new, "model_name") == gated.title and typed.text() == "hf_half"
    with QSignalBlocker(models.search):
        models.search.clear()
    models.view.set_current(ALL)
    assert models.current().known == catalogue.find(QWEN)


def test_a_starter_is_fetched_only_once_its_terms_are_accepted(tab: ModelTab):
    starter = library.STARTERS["gemma-3-270m"]
    tab.models.list.select_value(next(entry for entry in tab.entries() if entry.starter is starter))
    assert starter.terms[0] in text(tab, "model_licence_use")
    assert not button(tab, "model_get").isEnabled()
    tab.findChild(QCheckBox, "model_accept").setChecked(True)
    assert button(tab, "model_get").isEnabled()


@pytest.mark.full
def test_a_model_is_measured_with_the_chosen_rows(qtbot, tab: ModelTab, session: Session, tiny_model: Path,
                                                  rows_file: Path):
    with qtbot.waitSignal(tab.opened):
        tab.open_paths([tiny_model])
    qtbot.waitUntil(lambda: button(tab, "fit_measure").isVisible())
    assert "Choose your data" in button(tab, "fit_measure").toolTip()
    session.set_machine(read_machine())
    session.set_dataset(read_dataset(rows_file))
    qtbot.waitUntil(lambda: button(tab, "fit_measure").isEnabled())
    with qtbot.waitSignal(tab.work.finished, timeout=110_000):
        qtbot.mouseClick(button(tab, "fit_measure"), LEFT)
    qtbot.waitUntil(lambda: text(tab, "fit_verdict").startswith("Measured today"))


def test_what_was_begun_elsewhere_is_resumed_from_there(studio_home) -> None:
    """In the terminal, with --endpoint and a revision of its own."""
    assert download(QWEN).request()["endpoint"] is None
    partial = place.partial_of(paths.models_dir() / "Qwen2.5-1.5B-Instruct")
    partial.mkdir(parents=True)
    place.write_record(partial, QWEN, "v1.0", endpoint="http://127.0.0.1:8")
    request = download(QWEN).request()
    assert (request["name"], request["revision"], request["endpoint"]) == (QWEN, "v1.0", "http://127.0.0.1:8")


def test_a_fit_check_gives_way_to_a_run_that_starts(qtbot, tab: ModelTab, session: Session, tmp_path: Path, play):
    play("start wait:cancel cancelled")
    check = Job.create(tmp_path / "check", "fit_check", config={})
    tab.work.start(MEASURE, tmp_path / "model", lambda: check)
    qtbot.waitUntil(lambda: any(event["type"] == "job_started" for event in check.events()))
    with qtbot.waitSignal(tab.work.changed):
        session.start_run(Job(tmp_path / "run"))
    assert tab.work.target is None and check.outcome().state == "cancelled"
