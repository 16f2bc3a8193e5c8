"""A run's note and tags, saved as one goes elsewhere."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QFocusEvent
from PySide6.QtWidgets import QGridLayout, QLineEdit, QPlainTextEdit, QWidget

from slmstudio.core.run import notes
from slmstudio.core.run.notes import Notes
from slmstudio.gui import theme
from slmstudio.gui.tasks import run_task
from slmstudio.gui.widgets import text_label

LINES = 2


class _Text(QPlainTextEdit):
    """Signals:
        left: the person has gone elsewhere.
    """

    left = Signal()

    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        self.left.emit()


class NotesEditor(QWidget):
    """Two fields.

    Signals:
        saved(Path): the notes of this run are different now.
        failed(Exception): they could not be saved; what was typed stays in the fields.
    """

    saved = Signal(object)
    failed = Signal(object)

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self._folder: Path | None = None
        self._kept = Notes()
        self.tags, self.text = QLineEdit(), _Text()
        self.tags.setObjectName("run_tags")
        self.tags.setAccessibleName(self.tr("Tags"))
        self.tags.setPlaceholderText(self.tr("Between commas: best, for the demo"))
        self.tags.setToolTip(self.tr("Words to find the run by. The search line takes tag=best."))
        self.text.setObjectName("run_note")
        self.text.setAccessibleName(self.tr("Note"))
        self.text.setPlaceholderText(self.tr("What you want to remember of this run"))
        self.text.setToolTip(self.tr("Kept in the run's folder, and found by the search."))
        self.text.setTabChangesFocus(True)
        self.text.setFixedHeight(LINES * self.text.fontMetrics().lineSpacing() + 2 * theme.SPACE_M)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(theme.SPACE_L)
        grid.setVerticalSpacing(theme.SPACE_S)
        grid.setColumnStretch(1, 1)
        for row, (name, widget) in enumerate(((self.tr("Tags"), self.tags), (self.tr("Note"), self.text))):
            grid.addWidget(text_label(name, "small"), row, 0)
            grid.addWidget(widget, row, 1)
        self.tags.editingFinished.connect(self.save)
        self.text.left.connect(self.save)

    def show_notes(self, folder: Path, kept: Notes) -> None:
        """Show the notes of a run; what is being typed is not taken away."""
        if folder != self._folder:
            self.save()
        elif self._typed() != self._kept:
            return
        self._folder, self._kept = folder, kept
        if notes.parse_tags(self.tags.text()) != kept.tags or not kept.tags:
            self.tags.setText(", ".join(kept.tags))
        if self.text.toPlainText() != kept.text:
            self.text.setPlainText(kept.text)

    def _typed(self) -> Notes:
        return Notes(self.text.toPlainText().strip(), notes.parse_tags(self.tags.text()))

    def save(self) -> None:
        """Keep what is typed, when it is anything new."""
        folder, typed = self._folder, self._typed()
        if folder is None or typed == self._kept or not folder.is_dir():
            return
        self._kept = typed
        owner: QObject = self
        run_task(owner, lambda task: notes.write(folder, typed), lambda _: self.saved.emit(folder), self.failed.emit)
