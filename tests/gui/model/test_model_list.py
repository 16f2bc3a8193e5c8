"""The list of models: what fits, what is on disk, all; searched, filtered, and names of the hub typed into it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QPushButton
from support import model_files, model_window
from support.model_window import GIB, machine

from slmstudio.core import files, formats, i18n
from slmstudio.core.data.reader import read_dataset
from slmstudio.core.model import catalogue
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.widgets.table_cells import CHIP_TEXT, DETAIL
from slmstudio.gui.model import known
from slmstudio.gui.model.model_list import ALL, EVENING, FITS, ON_DISK
from slmstudio.gui.model.tab import ModelTab

QWEN = "Qwen/Qwen2.5-1.5B-Instruct"


@pytest.fixture
def tab(qtbot, session: Session) -> ModelTab:
    session.set_machine(machine(11 * GIB))
    shown = model_window.shown(qtbot, session)
    qtbot.waitUntil(lambda: bool(shown.models._languages))
    return shown


def names(tab: ModelTab) -> list[str]:
    return [tab.models.list.item(row).text() for row in range(tab.models.list.count())]


def chips(tab: ModelTab) -> dict[str, str]:
    items = [tab.models.list.item(row) for row in range(tab.models.list.count())]
    return {item.text(): item.data(CHIP_TEXT) for item in items}


def test_an_evening_shows_what_is_done_within_hours(qtbot, tab: ModelTab, session: Session):
    assert tab.models.view.current() == EVENING
    qwen = next(entry for entry in tab.entries() if entry.known == catalogue.find(QWEN))
    assert chips(tab)[qwen.name] == qwen.suits.time.text()
    session.set_machine(machine(None))
    qtbot.waitUntil(lambda: catalogue.find(QWEN).title not in names(tab))
    evening = set(names(tab))
    tab.models.view.set_current(FITS)
    assert evening < set(names(tab)) and len(names(tab)) < len(tab.entries())


def test_all_shows_what_does_not_fit_with_what_it_needs(tab: ModelTab, session: Session, qtbot):
    session.set_machine(machine(2 * GIB))
    llama = catalogue.find("meta-llama/Meta-Llama-3-8B").title
    tab.models.view.set_current(ALL)
    qtbot.waitUntil(lambda: chips(tab)[llama].startswith("needs "))
    assert len(chips(tab)) == len(tab.entries())


def test_a_model_that_does_not_know_the_language_says_so(tab: ModelTab, session: Session, qtbot, tmp_path: Path):
    hindi = tmp_path / "hindi.jsonl"
    hindi.write_text('{"instruction": "कार्यालय कब खुलता है?", "output": "दस बजे खुलता है।"}\n' * 9, encoding="utf-8")
    tab.models.view.set_current(ALL)
    session.set_dataset(read_dataset(hindi))
    phi = catalogue.find("Phi-3-mini-4k-instruct").title
    qtbot.waitUntil(lambda: chips(tab)[phi] == "other language")
    tab.models.view.set_current(EVENING)
    assert phi not in names(tab)


def test_on_disk_shows_folders_and_files_alone(qtbot, tab: ModelTab, tiny_model: Path):
    with qtbot.waitSignal(tab.opened):
        tab.open_paths([tiny_model])
    tab.models.view.set_current(ON_DISK)
    assert tiny_model.name in names(tab)
    assert all(entry.on_disk for entry in tab.entries() if entry.name in names(tab))
    item = next(tab.models.list.item(row) for row in range(tab.models.list.count())
                if tab.models.list.item(row).text() == tiny_model.name)
    assert "on disk" in item.data(DETAIL)


def test_words_and_filters_narrow_the_list(qtbot, tab: ModelTab):
    tab.models.view.set_current(ALL)
    qtbot.keyClicks(tab.models.search, "qwen 1.5b")
    assert names(tab) and all("Qwen" in name and "1.5B" in name for name in names(tab))
    tab.models.search.setText("hindi")
    hindi = {entry.title for entry in catalogue.entries() if entry.speaks("hi") or entry.has_most_languages}
    assert hindi <= set(names(tab)) and "TinyLlama 1.1B Chat" not in names(tab)
    tab.models.search.setText("hindi apache")
    assert "Qwen3 4B" in names(tab) and "Sarvam-1" not in names(tab)


def test_nothing_that_matches_says_what_to_do(qtbot, tab: ModelTab):
    qtbot.keyClicks(tab.models.search, "no such model")
    assert names(tab) == []
    assert "Paste the full name" in tab.findChild(QLabel, "model_nothing").text()
    tab.models.search.clear()
    assert names(tab)


def test_the_name_of_any_model_of_the_hub_can_be_pasted(qtbot, tab: ModelTab):
    tab.models.search.setText("someone/some-model-1b")
    qtbot.waitUntil(lambda: tab.findChild(QLabel, "model_name").text() == "someone/some-model-1b")
    assert tab.findChild(QPushButton, "model_get").isVisible()
    assert tab.findChild(QPushButton, "model_get").text() == "Download"
    assert not tab.card.facts.isVisible()
    assert "doesn't know this model" in tab.findChild(QLabel, "model_get_note").text()


def test_what_is_opened_is_seen_whatever_was_filtered(qtbot, tab: ModelTab, tiny_model: Path):
    qtbot.keyClicks(tab.models.search, "phi")
    with qtbot.waitSignal(tab.opened):
        tab.open_paths([tiny_model])
    assert tab.models.list.currentItem().text() == tiny_model.name
    assert tab.models.search.text() == ""


def test_languages_have_the_names_that_the_window_speaks(qtbot, tab: ModelTab):
    try:
        i18n.use("hi")
        called = known.languages()
    finally:
        i18n.use("en")
    assert called["ta"] == ("तमिल", "Tamil") and known.languages()["ta"] == ("Tamil", "Tamil")
    tab.models.set_languages(called)
    shown = []
    for word in ("तमिल", "tamil"):  # one may type either
        tab.models.search.setText(word)
        shown.append(tab.models.list.count())
    assert shown[0] == shown[1] > 0


def test_the_arrow_keys_walk_the_list(qtbot, tab: ModelTab):
    tab.models.list.setFocus()
    before = tab.findChild(QLabel, "model_name").text()
    qtbot.keyClick(tab.models.list, Qt.Key.Key_Down)
    assert tab.findChild(QLabel, "model_name").text() != before


def test_a_letter_that_changes_nothing_looks_at_nothing_again(qtbot, tab: ModelTab):
    tab.models.view.set_current(ALL)
    tab.models.search.setText("qwe")
    told = []
    tab.models.chosen.connect(told.append)
    qtbot.keyClicks(tab.models.search, "n")
    tab.models.search.clear()
    assert told == []


def test_a_gguf_that_was_unpacked_is_the_folder_made_of_it(qtbot, tab: ModelTab, tiny_model: Path, tmp_path: Path):
    file = tmp_path / "small.gguf"
    file.write_bytes(model_files.small_gguf())
    made = known.of_gguf(file).folder
    shutil.copytree(tiny_model, made)
    files.write_atomically(made / "source.json", files.dump_pretty({**formats.stamp("import"), "gguf": "small.gguf"}))
    assert known.of_gguf(file).facts.path == made
    files.write_atomically(made / "source.json", files.dump_pretty({**formats.stamp("import"), "gguf": "else.gguf"}))
    entry = known.of_gguf(file)
    assert (entry.gguf, entry.folder.name) == (file, f"{made.name}-2")
    file.write_bytes(b"GGUF, or not")
    assert known.of_gguf(file).error is not None


def test_a_list_that_is_read_again_keeps_what_is_looked_at(qtbot, tab: ModelTab):
    qtbot.waitUntil(lambda: tab.models.list.count() > 2)
    tab.models.list.setCurrentRow(2)
    looked_at = tab.models.current()
    assert not looked_at.on_disk  # only the time that it takes lets it through the filter
    with qtbot.waitSignal(tab.refreshed):
        tab.refresh()
    assert tab.models.current().folder == looked_at.folder and tab.models.list.currentRow() == 2
