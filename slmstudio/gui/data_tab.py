"""The Data tab: which files the model should learn from."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QFileDialog, QStackedWidget, QVBoxLayout, QWidget

from slmstudio.core import paths
from slmstudio.core.errors import Problem, UserError
from slmstudio.gui import theme
from slmstudio.gui.session import Session
from slmstudio.gui.tasks import Task, run_task
from slmstudio.gui.widgets import Card, EmptyState, ErrorBanner, PrimaryButton, ProgressStrip, SecondaryButton, counted
from slmstudio.gui.widgets.areas import local_paths

if TYPE_CHECKING:
    from slmstudio.core.data.reader import Dataset
    from slmstudio.gui.data_workspace import DataEntry, DataWorkspace


@dataclass(frozen=True)
class _Wanted:
    """A file to read.

    Attributes:
        eval_path: a file with evaluation rows that belongs to it.
        eval_for: when set, `path` itself holds the evaluation rows of this entry.
    """

    path: Path
    eval_path: Path | None = None
    eval_for: DataEntry | None = None


class DataTab(QWidget):
    """Reads datasets one after another, off the UI thread, and shows them.

    Signals:
        idle: every file that was wanted is read, or failed, or was cancelled.
    """

    idle = Signal()

    def __init__(self, session: Session, parent: QWidget | None = None):
        super().__init__(parent)
        self._session = session
        self._waiting: list[_Wanted] = []
        self._reading: _Wanted | None = None
        self._task: Task | None = None
        self._errors: list[Exception] = []
        self._workspace: DataWorkspace | None = None
        self.setAcceptDrops(True)
        self.banner = ErrorBanner()
        self.banner.setObjectName("data_banner")
        self._strip_card = Card()
        self._strips = (ProgressStrip(), ProgressStrip())
        self._strip_card.body.addWidget(self._strips[0])
        for strip in self._strips:
            strip.cancelled.connect(self.cancel)
        self._pages = QStackedWidget()
        self._pages.addWidget(EmptyState.centred(self._empty_state()))
        column = QVBoxLayout(self)
        column.setContentsMargins(*[theme.PAGE_MARGIN] * 4)
        column.setSpacing(theme.CARD_GAP)
        column.addWidget(self.banner)
        column.addWidget(self._strip_card)
        column.addWidget(self._pages, 1)
        self._show_progress()

    def _empty_state(self) -> EmptyState:
        choose = PrimaryButton(self.tr("Choose files…"), self.tr("Choose files with rows to learn (Ctrl+O)."))
        choose.setObjectName("data_choose")
        choose.clicked.connect(self.choose_files)
        sample = SecondaryButton(self.tr("Try the sample: citizen help desk"),
                                 self.tr("Questions and answers of a city's help desk, in English and Hindi. "
                                         "They come with the program: good for a first try."))
        sample.setObjectName("data_sample")
        sample.clicked.connect(self.open_sample)
        state = EmptyState(self.tr("What should the model learn?"),
                           self.tr("Drop a file with questions and answers, conversations, better and worse answers, "
                                   "or plain text. It stays on this machine."),
                           (choose, sample), self.tr("JSONL or a JSON list · text (.txt, .md)"))
        state.dropped.connect(self.open_files)
        state.column.addWidget(self._strips[1])
        self._buttons = (choose, sample)
        return state

    def choose_files(self) -> None:
        """Let the user choose files with rows."""
        self._dialog(self.tr("Choose files with rows to learn"), True).filesSelected.connect(
            lambda names: self.open_files([Path(name) for name in names]))

    def open_sample(self) -> None:
        """Open the dataset that comes with the program, with its own test rows."""
        self._add(_Wanted(paths.starter_train_file(), paths.starter_test_file()))

    def open_files(self, files: list[Path]) -> None:
        """Read these files, after those that are being read now."""
        for file in files:
            self._add(_Wanted(file))

    def cancel(self) -> None:
        """Stop reading; what was read before stays."""
        if self._task is not None:
            self._task.cancel()
        if self._reading is not None and self._reading.eval_for is not None:
            self._keep_eval(self._reading.eval_for)
        self._waiting.clear()
        self._reading = self._task = None
        self._finish()

    def _dialog(self, title: str, several: bool) -> QFileDialog:
        dialog = QFileDialog(self, title)
        dialog.setFileMode(QFileDialog.FileMode.ExistingFiles if several else QFileDialog.FileMode.ExistingFile)
        dialog.setNameFilters([self.tr("Datasets (*.jsonl *.json *.ndjson *.txt *.md)"), self.tr("All files (*)")])
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.open()
        return dialog

    def _add(self, wanted: _Wanted) -> None:
        self._waiting.append(wanted)
        if self._reading is None:
            self.banner.clear()
            self._errors = []
            self._read_next()
        self._show_progress()

    def _read_next(self) -> None:
        if not self._waiting:
            self._finish()
            return
        wanted = self._reading = self._waiting.pop(0)
        for strip in self._strips:
            strip.start("")
        self._task = run_task(self, lambda task: _read(wanted, task), self._was_read, self._was_not_read,
                              self._progressed)
        self._show_progress()

    def _progressed(self, done: int, total: int) -> None:
        for strip in self._strips:
            strip.set_progress(done, total)

    def _was_read(self, answer: tuple[Dataset, Dataset | None]) -> None:
        from slmstudio.gui.data_workspace import DataEntry

        wanted, self._reading, self._task = self._reading, None, None
        assert wanted is not None
        dataset, eval_dataset = answer
        if wanted.eval_for is not None:
            self._use_for_evaluation(wanted.eval_for, dataset)
        else:
            self.workspace().add(DataEntry(dataset, eval_dataset))
            self._pages.setCurrentWidget(self.workspace())
        self._read_next()

    def _use_for_evaluation(self, entry: DataEntry, dataset: Dataset) -> None:
        from slmstudio.core.data import layouts

        if layouts.kind(dataset.layout) == layouts.kind(entry.dataset.layout):
            self.workspace().set_eval_dataset(entry, dataset)
            return
        self._keep_eval(entry)
        self._errors.append(UserError(
            self.tr("{name} cannot evaluate {data}.").format(name=dataset.path.name, data=entry.dataset.path.name),
            self.tr("Their rows are of different kinds. {name}: {theirs} {data}: {own}").format(
                name=dataset.path.name, theirs=layouts.sentence(dataset.layout),
                data=entry.dataset.path.name, own=layouts.sentence(entry.dataset.layout)),
            self.tr("Choose a file with rows of the same kind.")))

    def _was_not_read(self, error: Exception) -> None:
        wanted, self._reading, self._task = self._reading, None, None
        if wanted is not None and wanted.eval_for is not None:
            self._keep_eval(wanted.eval_for)
        self._errors.append(error)
        self._read_next()

    def _finish(self) -> None:
        if len(self._errors) == 1:
            self.banner.show_error(self._errors[0])
        elif self._errors:
            what = self.tr("{count} files could not be read.").format(count=len(self._errors))
            self.banner.show_error(UserError(what, problems=[Problem(str(e).splitlines()[0]) for e in self._errors]))
        self._errors = []
        self._show_progress()
        self.idle.emit()

    def _show_progress(self) -> None:
        """Show what is being read: in the empty state while there is no dataset, above the cards otherwise."""
        reading = self._reading is not None
        text = self.tr("Reading {name}").format(name=self._reading.path.name) if self._reading is not None else ""
        if self._waiting:
            text += counted(len(self._waiting), self.tr(" · 1 more waiting"), self.tr(" · {count} more waiting"))
        for strip in self._strips:
            strip.label.setText(text)
            strip.label.setVisible(bool(text))
        empty = self._workspace is None or self._pages.currentWidget() is not self._workspace
        self._strip_card.setVisible(reading and not empty)
        self._strips[1].setVisible(reading and empty)
        for button in self._buttons:
            button.setEnabled(not reading)

    def workspace(self) -> DataWorkspace:
        """The page with the datasets; made when the first one was read, so that the window starts without it."""
        if self._workspace is None:
            from slmstudio.gui.data_workspace import DataWorkspace

            page = self._workspace = DataWorkspace(self._session)
            page.add_wanted.connect(self.choose_files)
            page.dropped.connect(self.open_files)
            page.eval_file_wanted.connect(self._choose_eval_file)
            page.emptied.connect(lambda: self._pages.setCurrentIndex(0))
            page.failed.connect(self.banner.show_error)
            self._pages.addWidget(page)
        return self._workspace

    def _choose_eval_file(self, entry: DataEntry) -> None:
        dialog = self._dialog(self.tr("Choose the file with evaluation rows"), False)
        dialog.fileSelected.connect(lambda name: self._add(_Wanted(Path(name), eval_for=entry)))
        dialog.rejected.connect(lambda: self._keep_eval(entry))

    def _keep_eval(self, entry: DataEntry) -> None:
        """No other file was chosen or read: show what is in force."""
        self.workspace().set_eval_dataset(entry, entry.eval_dataset)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if local_paths(event.mimeData()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        event.acceptProposedAction()
        self.open_files(local_paths(event.mimeData()))


def _read(wanted: _Wanted, task: Task) -> tuple[Dataset, Dataset | None]:
    from slmstudio.core.data.reader import read_dataset

    dataset = read_dataset(wanted.path, task.progress, task.cancelled)
    eval_dataset = read_dataset(wanted.eval_path, None, task.cancelled) if wanted.eval_path is not None else None
    # Rows hold no cycles. A garbage collection that walks a million of them stops the window for a tenth of a second.
    gc.freeze()
    return dataset, eval_dataset
