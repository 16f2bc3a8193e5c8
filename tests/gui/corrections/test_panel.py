"""An answer becomes a row: corrected, preferred, or expected by a test."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFileDialog
from support.window import show_widget, texts

from slmstudio.core import paths
from slmstudio.core.chat import corrections
from slmstudio.core.data.reader import read_dataset
from slmstudio.gui.corrections.panel import Answered, CorrectPanel

ASKED = ({"role": "system", "content": "आप सहायक हैं।"}, {"role": "user", "content": "राशन कार्ड?"})
SAID = "पता नहीं।"
BETTER = "तहसील कार्यालय जाइए।"


@pytest.fixture
def panel(qtbot, session, studio_home):
    return show_widget(qtbot, CorrectPanel(session), 760, 320)


@pytest.fixture
def exported(studio_home) -> Path:
    """A GGUF of a run that has learned one row."""
    run = paths.runs_dir() / "helpdesk"
    (run / "exports").mkdir(parents=True)
    rows = studio_home / "learned.jsonl"
    rows.write_text(json.dumps({"question": "राशन कार्ड?", "answer": BETTER}, ensure_ascii=False) + "\n", "utf-8")
    (run / "run.json").write_text(json.dumps({"train_file": str(rows)}))
    return run / "exports" / "helpdesk-F16.gguf"


def open_for(panel, better: str = SAID, test: bool = False, models=()) -> None:
    """An answer to correct, and what is written in its place."""
    panel.open(Answered(ASKED, SAID, tuple(models)), test=test)
    panel.answer.setPlainText(better)


def click(qtbot, button) -> None:
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def add(qtbot, panel) -> None:
    with qtbot.waitSignal(panel.stored):
        click(qtbot, panel.add)


def test_a_corrected_answer_becomes_a_row(qtbot, panel, session):
    open_for(panel)
    assert panel.question.text() == "राशन कार्ड?" and panel.answer.toPlainText() == SAID
    assert panel.as_row.isChecked() and not panel.as_pair.isEnabled(), "a pair needs a better answer first"
    panel.answer.setPlainText(f"  {BETTER}\n")
    add(qtbot, panel)
    file = paths.datasets_dir() / "corrections.jsonl"
    [row] = read_dataset(file).records
    assert row.messages == (*ASKED, {"role": "assistant", "content": BETTER})
    assert panel.note.text() == "corrections.jsonl now has 1 row" and not panel.add.isVisible()
    assert session.settings.correction_file == str(file)
    click(qtbot, panel.undo)
    qtbot.waitUntil(lambda: panel.note.text() == "Undone.")
    assert not file.exists() and panel.add.isVisible()


def test_a_row_and_a_pair_at_once(qtbot, panel):
    open_for(panel, BETTER)
    panel.as_pair.setChecked(True)
    add(qtbot, panel)
    folder = paths.datasets_dir()
    [pair] = read_dataset(folder / "preferences.jsonl").records
    assert (pair.messages[-1]["content"], pair.rejected) == (BETTER, SAID)
    assert len(read_dataset(folder / "corrections.jsonl").records) == 1
    click(qtbot, panel.undo)
    qtbot.waitUntil(lambda: panel.note.text() == "Undone.")
    assert not list(folder.glob("*.jsonl"))


def test_all_or_nothing(qtbot, panel, tmp_path):
    """The pair's file holds conversations: the row doesn't stay alone."""
    chat = tmp_path / "chat.jsonl"
    chat.write_text('{"question": "a", "answer": "b"}\n')
    open_for(panel, BETTER)
    panel.as_pair.setChecked(True)
    panel.pair_file.set_path(chat)
    click(qtbot, panel.add)
    qtbot.waitUntil(panel.banner.isVisible)
    assert not (paths.datasets_dir() / "corrections.jsonl").exists() and panel.add.isEnabled()
    panel.as_pair.setChecked(False)
    add(qtbot, panel)
    assert not panel.banner.isVisible()


def test_the_same_row_twice_is_said(qtbot, panel):
    for _ in range(2):
        open_for(panel, BETTER)
        click(qtbot, panel.add)
        qtbot.waitUntil(lambda: panel.note.text() != "Adding…")
    assert panel.banner.isVisible() and "Line 1" in texts(panel.banner)


def test_a_test_row_with_tags(qtbot, panel, session):
    open_for(panel, BETTER, test=True)
    assert not panel.as_row.isVisible() and panel.category.isVisible()
    panel.category.setText("ration card")
    panel.language.setText("hi")
    add(qtbot, panel)
    row = json.loads((paths.datasets_dir() / "tests.jsonl").read_text("utf-8"))
    assert (row["category"], row["language"], row["messages"][-1]["content"]) == ("ration card", "hi", BETTER)
    assert session.settings.test_file.endswith("tests.jsonl") and session.settings.correction_file == ""


def test_a_question_that_was_learned_is_no_fair_test(qtbot, panel, exported):
    for text, words in ((BETTER, "exactly this row (line 1 of learned.jsonl)"), ("Other.", "with another answer")):
        open_for(panel, text, test=True, models=[exported])
        click(qtbot, panel.add)
        qtbot.waitUntil(lambda: panel.note.text() not in ("", "Adding…"))
        assert words in panel.note.text()
        assert panel.add.text() == "Add anyway" and not (paths.datasets_dir() / "tests.jsonl").exists()
    add(qtbot, panel)
    assert len(read_dataset(paths.datasets_dir() / "tests.jsonl").records) == 1


def test_training_data_that_is_gone_is_said(qtbot, panel, exported, studio_home):
    (studio_home / "learned.jsonl").unlink()
    open_for(panel, test=True, models=[exported])
    add(qtbot, panel)
    assert "tests.jsonl now has 1 row" in panel.note.text() and "doesn't exist" in panel.note.text()


def test_nothing_to_add(qtbot, panel):
    open_for(panel, "   ")
    assert not panel.add.isEnabled()
    panel.answer.setPlainText(BETTER)
    assert panel.add.isEnabled()
    panel.as_row.setChecked(False)
    assert not panel.add.isEnabled()
    with qtbot.waitSignal(panel.closed):
        qtbot.keyClick(panel.answer, Qt.Key.Key_Escape)
    assert not panel.isVisible()


def test_undo_of_a_changed_file_is_refused(qtbot, panel):
    open_for(panel)
    add(qtbot, panel)
    with open(paths.datasets_dir() / "corrections.jsonl", "a", encoding="utf-8") as file:
        file.write('{"question": "later", "answer": "row"}\n')
    click(qtbot, panel.undo)
    qtbot.waitUntil(panel.banner.isVisible)
    assert panel.undo.isEnabled()


def test_files_are_offered_chosen_and_made(qtbot, panel, session, tmp_path):
    folder = paths.datasets_dir()
    folder.mkdir(parents=True)
    (folder / "older.jsonl").write_text('{"question": "a", "answer": "b"}\n')
    session.settings.correction_file = str(tmp_path / "mine.jsonl")
    open_for(panel)
    target = panel.row_file
    shown = [target.itemText(row) for row in range(target.count()) if target.itemText(row)]
    assert shown == ["mine.jsonl (new)", "older.jsonl", "Choose a file…", "New file…"]
    target.setCurrentIndex(1)
    target.activated.emit(1)
    assert target.path() == folder / "older.jsonl"
    target.activated.emit(target.count() - 1)
    dialog = target.findChild(QFileDialog)
    dialog.fileSelected.emit(str(tmp_path / "fresh.jsonl"))
    dialog.close()
    assert target.path() == tmp_path / "fresh.jsonl" and target.currentText() == "fresh.jsonl (new)"
    assert session.settings.correction_file == str(tmp_path / "fresh.jsonl")


def test_every_control_is_explained(panel, unexplained):
    open_for(panel)
    assert unexplained(panel) == []


# -- an answer that comes late ---------------------------------------------------------------------------------------


@pytest.fixture(params=["add_all"])
def held(request, monkeypatch):
    """Adding rows waits for this event; or what else of `corrections` the test names."""
    event, real = threading.Event(), getattr(corrections, request.param)

    def late(*given):
        assert event.wait(60)
        return real(*given)

    monkeypatch.setattr(corrections, request.param, late)
    yield event
    event.set()


def test_what_was_added_late_is_told_of_its_own_answer(qtbot, panel, held):
    open_for(panel, BETTER)
    click(qtbot, panel.add)
    panel.close_panel()
    other = ({"role": "user", "content": "Where is the post office?"},)
    panel.open(Answered(other, "No idea.", ()), test=False)
    assert not panel.add.isEnabled(), "one at a time"
    with qtbot.waitSignal(panel.stored, timeout=60_000):
        held.set()
    assert panel.note.text() == "“राशन कार्ड?”: corrections.jsonl now has 1 row"
    assert panel.undo.isHidden() and panel.add.isEnabled() and not panel.answer.isReadOnly()
    add(qtbot, panel)
    assert panel.note.text() == "corrections.jsonl now has 2 rows" and panel.undo.isVisible()


@pytest.mark.parametrize("held", ["learned_by"], indirect=True)
@pytest.mark.parametrize("left", ["closed", "another answer"])
def test_what_was_not_added_is_told_though_the_panel_was_closed(qtbot, panel, exported, held, left):
    open_for(panel, BETTER, test=True, models=[exported])
    click(qtbot, panel.add)
    panel.close_panel()
    if left == "another answer":
        open_for(panel, test=True, models=[exported])
        held.set()
        qtbot.waitUntil(lambda: "trained on exactly this row" in panel.note.text(), timeout=60_000)
        assert "wasn't added" in panel.note.text() and panel.add.text() == "Add"
        return
    with qtbot.waitSignal(panel.failed, timeout=60_000) as told:
        held.set()
    assert panel.isHidden(), "its page has made other use of the place"
    assert "राशन कार्ड?" in told.args[0].what and "wasn't added" in told.args[0].what
    assert "trained on exactly this row" in told.args[0].why


def test_what_failed_after_the_panel_was_closed_is_told_by_its_page(qtbot, panel, held, tmp_path):
    open_for(panel, BETTER)
    chat = tmp_path / "chat.jsonl"
    chat.write_text('{"prompt": "a", "chosen": "b", "rejected": "c"}\n')
    panel.row_file.set_path(chat)
    click(qtbot, panel.add)
    panel.close_panel()
    with qtbot.waitSignal(panel.failed, timeout=60_000) as told:
        held.set()
    assert panel.isHidden() and panel.banner.isHidden()
    assert "राशन कार्ड?" in told.args[0].what and "chat.jsonl" in told.args[0].why
