"""Notes of runs: what was typed is lost neither to a failed writing nor to a reading that came too late."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from PySide6.QtCore import QThreadPool

from slmstudio.core.run import notes
from slmstudio.core.run.notes import Notes
from slmstudio.gui.common import tasks
from slmstudio.gui.common.tasks import is_busy
from slmstudio.gui.results.run_notes import NotesEditor

OLD, TYPED = Notes("old"), Notes("typed", ("best",))


@pytest.fixture
def editor(qtbot, session):
    made = NotesEditor()
    qtbot.addWidget(made)
    made.banner = SimpleNamespace(show_error=lambda error: made.failures.append(error))
    made.failures = []
    return made


@pytest.fixture
def run(tmp_path: Path) -> Path:
    made = tmp_path / "run"
    made.mkdir()
    notes.write(made, OLD)
    return made


def type_into(editor: NotesEditor, wanted: Notes) -> None:
    editor.text.setPlainText(wanted.text)
    editor.tags.setText(", ".join(wanted.tags))


def typed(editor: NotesEditor) -> Notes:
    return Notes(editor.text.toPlainText().strip(), notes.parse_tags(editor.tags.text()))


def unwritable(run: Path) -> None:
    """No file can be put where the notes lie, whoever tries."""
    (run / notes.FILE).unlink()
    (run / notes.FILE).mkdir()


def fail_to_save(qtbot, editor: NotesEditor, run: Path) -> None:
    editor.show_notes(run, OLD)
    unwritable(run)
    type_into(editor, TYPED)
    editor.save()
    qtbot.waitUntil(lambda: len(editor.failures) == 1)


def test_what_could_not_be_saved_stays_in_the_fields_and_is_tried_again(qtbot, editor, run):
    fail_to_save(qtbot, editor, run)
    editor.show_notes(run, OLD)
    assert typed(editor) == TYPED
    (run / notes.FILE).rmdir()
    with qtbot.waitSignal(editor.saved):
        editor.save()
    assert notes.read(run) == TYPED


def test_what_could_not_be_saved_is_there_when_one_comes_back_to_the_run(qtbot, editor, run, tmp_path):
    fail_to_save(qtbot, editor, run)
    editor.show_notes(tmp_path, Notes("of another run"))
    assert typed(editor) == Notes("of another run")
    qtbot.waitUntil(lambda: len(editor.failures) == 2)  # it was tried again
    editor.show_notes(run, OLD)
    assert typed(editor) == TYPED


def test_a_reading_from_before_the_writing_puts_nothing_old_back(qtbot, editor, run):
    editor.show_notes(run, OLD)
    type_into(editor, TYPED)
    editor.save()
    editor.show_notes(run, OLD)
    assert typed(editor) == TYPED, "while it is being written"
    qtbot.waitUntil(lambda: not is_busy(editor))
    editor.show_notes(run, OLD)
    assert typed(editor) == TYPED, "read before, shown after"
    editor.show_notes(run, TYPED)
    editor.show_notes(run, OLD)
    assert typed(editor) == OLD, "somebody else has changed it on the disk"


def test_what_is_typed_while_an_older_text_is_written_comes_last(qtbot, editor, run, tmp_path):
    editor.show_notes(run, OLD)
    type_into(editor, TYPED)
    editor.save()
    type_into(editor, Notes("newest"))
    editor.show_notes(tmp_path, Notes())
    qtbot.waitUntil(lambda: notes.read(run) == Notes("newest") and not is_busy(editor))
    assert typed(editor) == Notes() and editor.failures == []


def test_what_is_typed_while_an_older_text_is_written_outlasts_the_end_of_the_program(editor, run, monkeypatch):
    editor.show_notes(run, OLD)
    arrived, go_on, write = threading.Event(), threading.Event(), notes.write

    def late(*given):
        arrived.set()
        assert go_on.wait(60)
        write(*given)

    monkeypatch.setattr(notes, "write", late)
    type_into(editor, TYPED)
    editor.save()
    assert arrived.wait(60)
    type_into(editor, Notes("newest"))
    editor.save()
    go_on.set()
    assert tasks.shut_down(60_000)
    assert notes.read(run) == Notes("newest")


def test_what_is_typed_after_a_text_was_written_and_before_that_is_known_is_written_too(editor, run):
    editor.show_notes(run, OLD)
    type_into(editor, TYPED)
    editor.save()
    assert QThreadPool.globalInstance().waitForDone(60_000), "it is on the disk, and the editor has not heard of it"
    type_into(editor, Notes("newest"))
    editor.save()
    assert tasks.shut_down(60_000)
    assert notes.read(run) == Notes("newest")
