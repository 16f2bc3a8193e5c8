"""A run's note and tags, saved as one goes elsewhere."""

from __future__ import annotations

import threading
from pathlib import Path

from PySide6.QtCore import Signal
from PySide6.QtGui import QFocusEvent
from PySide6.QtWidgets import QLineEdit, QPlainTextEdit, QWidget

from slmstudio.core.i18n import tr
from slmstudio.core.run import notes
from slmstudio.core.run.notes import Notes
from slmstudio.gui.common import theme
from slmstudio.gui.common.tasks import run_task
from slmstudio.gui.common.widgets.fields import named
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.layouts import grid_in

LINES = 2


class _Text(QPlainTextEdit):
    """Signals:
        left: the user has gone elsewhere.
    """

    left = Signal()

    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        self.left.emit()


class NotesEditor(QWidget):
    """Two fields. `_kept` is what the disk holds of the run that is shown; by run, `_unsaved` is what was typed and is
    not known to be on the disk, and `_written` is what was there before the last write and what is there now.
    `_writing` holds the runs whose notes a thread writes; that thread looks for what was typed meanwhile.

    What couldn't be saved stays in the fields, also when one comes back to the run, and is tried again.

    Signals:
        saved(Path): the notes of this run have changed.
    """

    saved = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._folder: Path | None = None
        self._kept = Notes()
        self._unsaved: dict[Path, Notes] = {}
        self._writing: set[Path] = set()
        self._hand_over = threading.Lock()
        self._written: dict[Path, tuple[Notes, Notes]] = {}
        self.tags = named(QLineEdit(placeholderText=tr("Separated by commas: best, for the demo")), "run_tags",
                          tr("Tags"), tr("Words to find the run by. In the search line, type tag=best, for example."))
        self.text = named(_Text(placeholderText=tr("What you want to remember about this run")), "run_note", tr("Note"),
                          tr("Kept in the run's folder. The search finds it."))
        self.text.setTabChangesFocus(True)
        self.text.setFixedHeight(LINES * self.text.fontMetrics().lineSpacing() + 2 * theme.SPACE_M)
        grid = grid_in(self, theme.SPACE_L, theme.SPACE_S, stretch=1)
        for row, (name, widget) in enumerate(((tr("Tags"), self.tags), (tr("Note"), self.text))):
            grid.addWidget(text_label(name, "small"), row, 0)
            grid.addWidget(widget, row, 1)
        self.tags.editingFinished.connect(self.save)
        self.text.left.connect(self.save)

    def show_notes(self, folder: Path, kept: Notes) -> None:
        """Show the notes of a run as they were read; what is typed and not on the disk yet isn't taken away."""
        before, now = self._written.get(folder, (None, Notes()))
        if kept == before:
            kept = now  # they were read before the writing ended
        else:
            self._written.pop(folder, None)
        if folder != self._folder:
            self.save()
            self._folder, self._kept = folder, kept
            self._fill(self._unsaved.get(folder, kept))
        elif folder not in self._unsaved and self._typed() == self._kept:
            self._kept = kept
            self._fill(kept)

    def _fill(self, shown: Notes) -> None:
        if notes.parse_tags(self.tags.text()) != shown.tags or not shown.tags:
            self.tags.setText(", ".join(shown.tags))
        if self.text.toPlainText() != shown.text:
            self.text.setPlainText(shown.text)

    def _typed(self) -> Notes:
        return Notes(self.text.toPlainText().strip(), notes.parse_tags(self.tags.text()))

    def save(self) -> None:
        """Keep what is typed, when it is anything new, or when it couldn't be kept before."""
        folder, typed = self._folder, self._typed()
        if folder is None or (typed == self._kept and folder not in self._unsaved) or not folder.is_dir():
            return
        with self._hand_over:
            self._unsaved[folder] = typed
            if folder in self._writing:
                return  # of two at once, the older might be the last one: the running thread takes this too
            self._writing.add(folder)
        before = self._kept
        run_task(self, lambda task: self._write(folder), lambda written: self._was_written(folder, before, written))

    def _write(self, folder: Path) -> Notes:
        """On a thread: write the newest text until there is none that is newer, though the program ends meanwhile."""
        written: Notes | None = None
        try:
            while True:
                with self._hand_over:
                    typed = self._unsaved[folder]
                    if typed == written:
                        self._writing.discard(folder)
                        return typed
                notes.write(folder, typed)
                written = typed
        except Exception:
            with self._hand_over:
                self._writing.discard(folder)
            raise

    def _was_written(self, folder: Path, before: Notes, written: Notes) -> None:
        self._written[folder] = self._written.get(folder, (before, written))[0], written
        if folder == self._folder:
            self._kept = written
        with self._hand_over:
            if folder not in self._writing and self._unsaved.get(folder) == written:
                del self._unsaved[folder]
        self.saved.emit(folder)
