"""Another language: chosen in the settings, without a restart, in what Qt writes too, and in letters that are there."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QLocale, QPointF, Qt
from PySide6.QtGui import QFontDatabase, QTextLayout
from PySide6.QtWidgets import QApplication, QDialog, QFileDialog, QLabel, QLineEdit, QMessageBox
from shiboken6 import isValid
from support.shown_texts import untranslated
from support.training_window import button, wait_for_steps

from slmstudio.core import i18n
from slmstudio.core import settings as kept_settings
from slmstudio.core.data.remembered import Remembered
from slmstudio.core.data.versions.edits import Edits
from slmstudio.core.i18n import messages, tr
from slmstudio.core.model import facts
from slmstudio.core.run import folder, queue
from slmstudio.core.run.config import RunConfig
from slmstudio.core.settings import Settings
from slmstudio.gui.app import application as program
from slmstudio.gui.app import qt_texts
from slmstudio.gui.app.main_window import MainWindow
from slmstudio.gui.common import tasks, theme
from slmstudio.gui.common.session import TABS
from slmstudio.gui.common.tasks import GarbageCollector
from slmstudio.gui.model.model_list import ALL

SCRIPTS = {"Devanagari": "मॉडल को ट्रेन करें", "Bengali": "মডেল প্রশিক্ষণ", "Tamil": "மாதிரி பயிற்சி",
           "Arabic": "ماڈل کی تربیت"}


@pytest.fixture(autouse=True)
def english_afterwards(qapp) -> Iterator[None]:
    yield
    i18n.use("en")
    qt_texts.speak(qapp)


def test_the_language_is_chosen_in_the_settings(qtbot, main_window: MainWindow, session):
    wanted: list[str] = []
    main_window.session.language_changed.connect(lambda: wanted.append(main_window.session.settings.language))
    box = main_window.open_settings().language
    names = [box.itemText(index) for index in range(box.count())]
    assert names[0].startswith("Same as the system (") and names[1:3] == ["English", "हिन्दी"]
    assert box.currentData() == ""
    box.setCurrentIndex(2)
    box.activated.emit(2)
    assert wanted == ["hi"] and kept_settings.load()[0].language == "hi"
    box.activated.emit(2)
    assert wanted == ["hi"], "it is that already"


def test_the_language_stays_while_something_is_half_made(qtbot, main_window: MainWindow, rows_file: Path):
    data, wanted = main_window.page("data"), []
    main_window.session.language_changed.connect(lambda: wanted.append(main_window.session.settings.language))
    with qtbot.waitSignal(data.idle):
        data.open_files([rows_file])
    desk = data.workspace().desk
    desk.hand._open(0)
    dialog = main_window.open_settings()
    dialog.language.setCurrentIndex(2)
    dialog.language.activated.emit(2)
    assert wanted == [] and dialog.language.currentData() == ""
    assert dialog.language.note.text() == "Save or discard what you are editing first."
    desk.editor.closed.emit()
    training, chat = main_window.page("training"), main_window.page("chat")
    training.next._wanted = (lambda config: None, None)
    assert "starting" in main_window.why_not_now()
    training.next._wanted = None
    chat.panes[0].state = "answering"
    assert "answer" in main_window.why_not_now()
    chat.panes[0].state = "empty"
    dialog.language.setCurrentIndex(2)
    dialog.language.activated.emit(2)
    assert wanted == ["hi"] and dialog.language.note.isHidden()


@pytest.mark.parametrize(("given", "read"), [("hi", "hi"), ("en_XA", "en_XA"), ("", ""), ("xx", ""), ("../hi", ""),
                                             (7, "")])
def test_a_language_that_there_is_not_is_the_systems(given: object, read: str):
    assert Settings.from_dict({"language": given}).language == read


def reopened(qapp: QApplication, window: MainWindow, language: str) -> MainWindow:
    """The window in its place after another language was chosen; how long that took is printed."""
    window.session.settings.language = language
    begun = time.perf_counter()
    made = program.open_in_language(qapp, window)
    made.painted.connect(lambda: print(f"painted in {language!r} after {time.perf_counter() - begun:.2f} s"))
    return made


@pytest.fixture
def window(qtbot, session) -> MainWindow:
    """A window that may go during the test."""
    made = MainWindow(session)
    with qtbot.waitSignal(made.painted):
        made.show()
    return made


@pytest.fixture
def at_work(qtbot, window: MainWindow, tiny_model: Path, play) -> Iterator[MainWindow]:
    """It has a dataset in use, a model, a value for the next plan, a run at work, half a question, and a narrowed list
    of models."""
    play("start no_gpu load plan:100000 steps:100000@50")  # few enough that the window has time
    window.go_to("training")
    training, data = window.page("training"), window.page("data")
    training.planning.decide("epochs", "2")
    job = folder.create(RunConfig(name="helpdesk", model=str(tiny_model), train_file="t.jsonl"))
    training.followed.follow(job, start_worker=True)
    window.session.start_run(job)
    with qtbot.waitSignal(data.idle):
        data.open_sample()
    data.workspace().choose(data.workspace().entry)
    window.session.set_model(facts.read_model(tiny_model))
    models = window.page("model").models
    qtbot.keyClicks(models.search, "qwen")
    models.view.set_current(ALL)
    qtbot.keyClicks(window.page("chat").input.editor, "And on Sun")
    wait_for_steps(qtbot, training)
    yield window
    job.kill()


def typed_and_chosen(window: MainWindow) -> tuple[str, str, int, dict[str, object]]:
    models = window.page("model").models
    return (window.page("chat").input.editor.toPlainText(), models.search.text(), models.view.current(),
            window.page("training").planning.overrides)


def test_all_that_is_open_chosen_and_typed_is_there_in_another_language(qtbot, qapp, at_work: MainWindow):
    old, job, place = at_work, at_work.page("training").followed.job, at_work.geometry()
    dataset, model, entries = old.session.dataset.path, old.session.model, old.page("data").workspace().entries
    old.open_settings()
    new = reopened(qapp, old, "hi")
    assert [tab for tab in TABS if tab in new.session.pages] == ["data", "model", "chat"], "nobody waits for these"
    assert new.page("training").isVisibleTo(new)
    qtbot.waitUntil(lambda: new.findChild(QDialog, "settings") is not None)
    new.findChild(QDialog, "settings").close()
    assert [new.header.tabs.tabText(index) for index in range(5)] == ["डेटा", "मॉडल", "ट्रेनिंग", "नतीजे", "चैट"]
    assert [tick.text() for tick in new.header.findChildren(QLabel) if tick.property("tick")] == ["✓", "✓"]
    assert new.header.tabs.currentIndex() == TABS.index("training") and new.size() == place.size()
    training, data = new.page("training"), new.page("data")
    assert training.followed.job.folder == job.folder and training.followed.is_running()
    found = ("And on Sun", "qwen", ALL, {"epochs": "2"})
    qtbot.waitUntil(lambda: typed_and_chosen(new) == found)
    assert new.session.dataset.path == dataset and new.session.model is model
    assert data.workspace().entries == entries, "with what isn't written in them"
    seen = training.followed.history.step
    qtbot.waitUntil(lambda: training.followed.history.step > seen, timeout=10_000)
    assert job.is_alive() and button(training, "stop").isEnabled()
    qtbot.waitUntil(lambda: not isValid(old))
    qtbot.waitUntil(lambda: data.queue.reading is None)
    assert new.session.dataset.path == dataset, "read again, in the new language"
    english = reopened(qapp, new, "en")
    qtbot.addWidget(english)
    qtbot.waitUntil(lambda: typed_and_chosen(english) == found)
    running = english.page("training").followed.is_running()
    english.page("training").followed.detach()
    assert english.header.tabs.tabText(0) == "Data" and running
    qtbot.waitUntil(lambda: not isValid(new))


def test_the_queue_does_not_start_because_the_language_changed(qtbot, qapp, window: MainWindow, tiny_model: Path, play):
    play("start load plan:10 steps:10 finish")
    window.go_to("training")
    training = window.page("training")
    job = folder.create(RunConfig(name="helpdesk", model=str(tiny_model), train_file="t.jsonl"))
    with qtbot.waitSignal(training.followed.ended):
        training.followed.follow(job, start_worker=True)
        window.session.start_run(job)
    queue.add(folder.create(RunConfig(name="later", model=str(tiny_model), train_file="t.jsonl")).folder)
    new = reopened(qapp, window, "hi")
    qtbot.addWidget(new)
    followed, started = new.page("training").followed, []
    new.page("training").next.turn.connect(started.append)
    qtbot.waitUntil(lambda: followed.has_ended())
    qtbot.waitUntil(lambda: not tasks._running)
    assert started == [] and [each.state for each in queue.entries()] == ["waiting"]


def test_a_dataset_stays_open_when_its_file_is_gone(qtbot, qapp, window: MainWindow, rows_file: Path):
    data = window.page("data")
    with qtbot.waitSignal(data.idle):
        data.open_files([rows_file])
    entry = data.workspace().entry
    entry.edits = Edits(entry.dataset.records)
    entry.edits.delete([0])
    rows_file.unlink()
    new = reopened(qapp, window, "hi")
    qtbot.addWidget(new)
    data = new.page("data")
    qtbot.waitSignal(data.idle).wait()
    assert data.workspace().entries == [entry] and entry.edits.changes and data.banner.error is not None
    entry.edits.undo()  # else closing the window asks
    assert [each.open for each in data.memory.known()] == [True]


def test_what_was_said_in_chat_is_there_again(qtbot, qapp, window: MainWindow):
    window.go_to("chat")
    chat = window.page("chat")
    tree = chat.panes[0].lane.tree
    tree.add("user", "When is the office open?")
    tree.add("assistant", "From ten to five.")
    for field, typed in ((chat.settings.system, "You are a clerk."), (chat.saved.search, "rations")):
        qtbot.keyClicks(field, typed)
    chat.settings.context.set_value(2)
    new = reopened(qapp, reopened(qapp, window, "hi"), "en")
    qtbot.addWidget(new)
    chat = new.page("chat")
    assert [turn.content for turn in chat.panes[0].lane.turns] == ["When is the office open?", "From ten to five."]
    assert chat.settings.to_dict()["system"] == "You are a clerk." and chat.settings.context.value() == 2
    assert chat.saved.search.text() == "rations"


def test_a_language_is_chosen_twice_over_the_welcome_page(qtbot, qapp, window: MainWindow, monkeypatch):
    garbage = GarbageCollector(qapp)
    window.open_welcome()
    made, reopen = [], program.open_in_language
    monkeypatch.setattr(program, "open_in_language", lambda *arguments: made.append(reopen(*arguments)) or made[-1])
    monkeypatch.setattr(program, "_catch_defects", lambda window: None)
    program._connect(qapp, [window], garbage)
    for code in ("en_XA", "hi"):
        window.session.change_language(code)
    qtbot.waitUntil(lambda: not isValid(window))
    garbage.stop()
    [new] = made
    qtbot.addWidget(new)
    assert new.welcome_is_open() and new.welcome.sample.text() == "नमूना आज़माएँ"


def test_a_file_that_is_asked_about_is_asked_about_still(qtbot, qapp, window: MainWindow, tmp_path: Path):
    file = tmp_path / "odd.csv"
    file.write_text("Fld 1,Fld-2,xx\n" + "".join(f"why {n},because {n},text {n}\n" for n in range(8)), encoding="utf-8")
    data = window.page("data")
    away = Remembered(Path("/away/rows.jsonl"), open=True)
    window.session.settings.datasets = [away.to_dict()]
    with qtbot.waitSignal(data.idle):
        data.restore()
    with qtbot.waitSignal(data.idle):
        data.open_files([file])
    assert data.pages.is_asking()
    new = reopened(qapp, window, "hi")
    qtbot.addWidget(new)
    data = new.page("data")
    assert data.pages.is_asking()
    qtbot.waitUntil(lambda: data.memory.unreachable == [away])


def test_qt_writes_in_the_language_of_the_program(qtbot, qapp):
    i18n.use("hi")
    qt_texts.speak(qapp)
    kind = QMessageBox.StandardButton
    box = QMessageBox(QMessageBox.Icon.Question, "", "", kind.Yes | kind.No | kind.Cancel)
    field = QLineEdit("text")
    qtbot.addWidget(box)
    qtbot.addWidget(field)
    assert [box.button(each).text() for each in (kind.Yes, kind.No, kind.Cancel)] == ["हाँ", "नहीं", "रद्द करें"]
    menu = field.createStandardContextMenu()
    assert [action.text().split("\t")[0] for action in menu.actions() if action.text()] == [
        tr("Undo"), tr("Redo"), tr("Cut"), tr("Copy"), tr("Paste"), tr("Delete"), tr("Select all")]
    menu.deleteLater()
    assert QLocale().language() == QLocale.Language.Hindi and QLocale().toString(1234567) == "12,34,567"
    i18n.use("en")
    qt_texts.speak(qapp)
    assert QMessageBox(QMessageBox.Icon.Question, "", "", kind.Yes).button(kind.Yes).text() == "&Yes"


def test_the_words_of_a_file_dialog_are_known(qtbot, qapp, tmp_path: Path):
    i18n.use(i18n.PSEUDO)
    qt_texts.speak(qapp)
    dialog = QFileDialog(None, tr("Open a GGUF file"), str(tmp_path), tr("GGUF models (*.gguf)"))
    qtbot.addWidget(dialog)
    dialog.setOption(QFileDialog.Option.DontUseNativeDialog)
    dialog.show()
    QApplication.processEvents()
    assert list(untranslated(dialog, re.compile("|".join((r".*/.*", *map(re.escape, tmp_path.parts)))))) == []


def test_a_language_from_right_to_left_turns_the_window(qapp, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(messages, "FOLDER", tmp_path)
    (tmp_path / "ur.po").write_text('msgid ""\nmsgstr "Content-Type: text/plain; charset=utf-8\\n"\n\n'
                                    'msgid "Settings"\nmsgstr "ترتیبات"\n', encoding="utf-8")
    i18n.use("ur")
    qt_texts.speak(qapp)
    assert qapp.layoutDirection() == Qt.LayoutDirection.RightToLeft and tr("Settings") == "ترتیبات"
    i18n.use("en")
    qt_texts.speak(qapp)
    assert qapp.layoutDirection() == Qt.LayoutDirection.LeftToRight


@pytest.mark.parametrize("script", SCRIPTS)
def test_letters_of_indian_scripts_are_there(qapp, script: str):
    if getattr(QFontDatabase.WritingSystem, script) not in QFontDatabase.writingSystems():
        pytest.skip(f"this machine has no font for {script}")
    layout = QTextLayout(f"LoRA {SCRIPTS[script]} 12", theme.base_font())
    layout.beginLayout()
    line = layout.createLine()
    line.setLineWidth(1000)
    line.setPosition(QPointF(0, 0))
    layout.endLayout()
    runs = layout.glyphRuns()
    missing = [run.rawFont().familyName() for run in runs if 0 in run.glyphIndexes()]
    assert runs and missing == [], "a glyph of number 0 is a box"
