"""The Data tab: which files the model should learn from."""

from __future__ import annotations

import importlib
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QTimer, Signal
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QFileDialog, QWidget

from slmstudio.core import paths
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import join_sentences, tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.dialogs import open_path
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.tasks import run_task
from slmstudio.gui.common.widgets.areas import NoteBar, TakesFiles
from slmstudio.gui.common.widgets.banner import ErrorBanner
from slmstudio.gui.common.widgets.buttons import IconButton, SecondaryButton
from slmstudio.gui.common.widgets.layouts import column_in, column_of, fill
from slmstudio.gui.data.pages import DataPages, ReadingProgress, choose_files
from slmstudio.gui.data.reading import Question, Read, ReadingQueue, ReadRequest, all_together, other_kind

if TYPE_CHECKING:
    from slmstudio.core.data.reader import Dataset, Preview
    from slmstudio.core.evaluation.advice import Proposal
    from slmstudio.gui.data.recent import DataEntry, DataMemory
    from slmstudio.gui.data.workspace import DataWorkspace
    from slmstudio.gui.documents.page import DocumentsPage

MODE = QFileDialog.FileMode
LOOK_AFTER_MS = 50
"""After the tab is shown, it looks whether the recent files are there; by then the window is painted."""


class DataTab(TakesFiles, QWidget):
    """Reads datasets one after another, off the UI thread, and shows them.

    Signals:
        idle: every file that was wanted is read, or failed, or was cancelled.
    """

    idle = Signal()

    def __init__(self, session: Session):
        super().__init__()
        self._session = session
        self.queue = ReadingQueue(session, self)
        self.queue.begun.connect(self._show_progress)
        self.queue.begun.connect(self._prepare)
        self.queue.peeked.connect(self._show_first_rows)
        self.queue.was_read.connect(self._was_read)
        self.queue.failed.connect(self._was_not_read)
        self.queue.finished.connect(self._finish)
        self._errors: list[Exception] = []
        self._notes: list[UserError] = []
        self._workspace: DataWorkspace | None = None
        self._documents: DocumentsPage | None = None
        session.rows_written.connect(self._read_again)
        self._counted: Path | None = None  # the dataset whose answers are to be counted
        self.advice: NoteBar = NoteBar("data_advice", "warn", (
            SecondaryButton(tr("Add files…"), tr("Choose files with rows (Ctrl+O)."), "small", name="advice_add",
                            clicked=self.choose_files),
            IconButton("close", tr("Hide this advice"), name="advice_close", clicked=lambda: self.advice.say(""))))
        self.banner = ErrorBanner(name="data_banner")
        self.progress = ReadingProgress(self.queue, self.cancel)
        self.pages = DataPages(self.progress.strips[1])
        self._connect_pages()
        self._look_soon = QTimer(self, interval=LOOK_AFTER_MS, singleShot=True, timeout=lambda: self.memory.look())
        self._foot = column_of(self.progress, self.banner, spacing=theme.CARD_GAP)
        column_in(self, self.advice, (self.pages, 1), self._foot, spacing=theme.CARD_GAP, margins=theme.PAGE_MARGIN)
        self.pages.currentChanged.connect(self._place_messages)
        self._show_progress()

    def _place_messages(self) -> None:
        page = self._workspace
        fill(page.foot if page is not None and self.pages.currentWidget() is page else self._foot, self.progress,
             self.banner)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._look_soon.start()

    @cached_property
    def memory(self) -> DataMemory:
        """Which datasets are open and which were. Made when the window is painted, so that it starts without it."""
        from slmstudio.gui.data.recent import DataMemory

        made = DataMemory(self._session, self)
        made.changed.connect(self._show_recent)
        return made

    def _connect_pages(self) -> None:
        empty = self.pages.empty
        for button, slot in zip(empty.buttons, (self.choose_files, self.choose_folder, self.open_documents,
                                                self.open_sample), strict=True):
            button.clicked.connect(slot)
        empty.dropped.connect(self.open_files)
        self.pages.said.connect(self._add)
        self.pages.left.connect(self._leave_asked)
        self.pages.chosen.connect(lambda path: self.open_files([path]))
        self.pages.removed.connect(lambda path: self.memory.forget(path))

    def choose_files(self) -> None:
        """Let the user choose files with rows, or documents where those are wanted."""
        if self._documents is not None and self.pages.shows_documents():
            self._documents.choose_files()
            return
        choose_files(self, tr("Choose files with training rows"), MODE.ExistingFiles).filesSelected.connect(
            lambda names: self.open_files([Path(name) for name in names]))

    def choose_folder(self) -> None:
        """Let the user choose a folder, whose files are one dataset."""
        open_path(self, tr("Choose a folder with training rows"), lambda path: self.open_files([path]), folder=True)

    def open_sample(self) -> None:
        """Open the dataset that comes with the program, with its own test rows."""
        self._add(ReadRequest(paths.starter_train_file(), paths.starter_test_file()))

    # -- documents that become questions and answers ---------------------------------------------------------

    def open_documents(self) -> None:
        """Show where documents become questions and answers."""
        run_task(self, lambda task: importlib.import_module("slmstudio.gui.documents.page"),
                 lambda module: self._show_documents())

    def _show_documents(self) -> None:
        self.pages.setCurrentWidget(self.documents())

    def documents(self) -> DocumentsPage:
        """That page; made when it is first wanted."""
        if self._documents is None:
            from slmstudio.gui.documents.page import DocumentsPage

            page = self._documents = self.pages.documents = DocumentsPage(self._session)
            page.closed.connect(self._leave_documents)
            page.made.connect(self._open_made)
            self.pages.addWidget(page)
        return self._documents

    def _leave_documents(self) -> None:
        page = self._workspace
        self.pages.setCurrentWidget(page) if page is not None and page.entries else self.pages.show_empty()
        self._ask()

    def _open_made(self, rows: Path, test: Path | None) -> None:
        """Show the dataset that was made of documents, which is measured with the rows of its held-out sections."""
        self._leave_documents()
        self._add(ReadRequest(rows, test))

    def open_files(self, files: list[Path], line: int = 0) -> None:
        """Read these files, after those that are being read now, and show the row of this line of the last."""
        recent = {each.path: each for each in self.memory.recent()}
        for file in files:
            path = file.absolute()
            self._add(ReadRequest(path, kept=recent.get(path), line=line if file == files[-1] else 0,
                             said=self._said_of(path)))

    def advise(self, file: Path, proposal: Proposal) -> None:
        """Show a dataset, and above it what is proposed for its rows."""
        from slmstudio.core.evaluation.advice.proposals import COUNT

        self._counted = file if proposal.action == COUNT else None
        self.advice.say(join_sentences(tr("{sentence}.", sentence=proposal.text), proposal.reason))
        if self._workspace is None or (entry := self._workspace.find(file)) is None:
            self.open_files([file])
        else:
            self._workspace.list.select_value(entry)
            self._count_answers()

    def _count_answers(self) -> None:
        """Say how often the rows have which answer, where that was proposed."""
        wanted, self._counted = self._counted, None
        if wanted is not None and (entry := self.workspace().find(wanted)) is not None:
            from slmstudio.core.data.languages import answer_counts

            run_task(self, lambda task: answer_counts(entry.dataset.records), self.advice.say)

    def _said_of(self, path: Path) -> str | None:
        entry = self._workspace.find(path) if self._workspace is not None else None
        return entry.dataset.line if entry is not None else None

    def _reread(self, entry: DataEntry, said: str) -> None:
        """Read a file as a user just said, instead of what was said just before."""

        if not said:  # by guess, and so are others with these columns
            self.memory.keep_said(entry.dataset.columns, "")
        path, evaluation = entry.dataset.path, entry.eval_dataset
        self.queue.drop_by_hand(path)
        # Evaluation rows that were read like those that are learned follow these.
        own = evaluation.line if evaluation is not None and evaluation.given != entry.dataset.given else None
        self._add(ReadRequest(path, evaluation.path if evaluation is not None else None, said=said, by_hand=True,
                         eval_said=own))

    def restore(self) -> None:
        """Open what was open when the window was closed."""
        for kept in self.memory.known():
            if kept.open:
                self._add(ReadRequest(kept.path, kept=kept, restore=True))

    def _read_again(self, path: Path) -> None:
        """Rows were added to a file, or taken out of it; who looks at it sees that."""

        for entry in self._workspace.entries if self._workspace is not None else ():
            if entry.dataset.path.resolve() == path.resolve():
                self._add(ReadRequest(entry.dataset.path, again=True, said=entry.dataset.line or ""))
            elif entry.eval_dataset is not None and entry.eval_dataset.path.resolve() == path.resolve():
                self._add(ReadRequest(entry.eval_dataset.path, eval_for=entry, said=entry.eval_dataset.line))
        self.memory.look()

    def why_not_now(self) -> str:
        """Why another tab can't take over now; "" if it can."""
        from slmstudio.gui.common.run_texts import editing_text

        return editing_text() if self._workspace is not None and self._workspace.desk.is_editing() else ""

    def save_state(self) -> dict[str, Any]:
        """What the settings don't hold, for `restore_state` of the tab that replaces this one. Reading ends."""
        page, asking = self._workspace, self.pages.is_asking()
        waiting = [each for each in (self.queue.reading, *self.queue.waiting) if each is not None and not each.restore]
        self.queue.cancel()
        return {"entries": page.entries if page is not None else [], "shown": page.entry if page is not None else None,
                "where": page.rows.where() if page is not None else None,
                "reading": page.reading.save_state() if page is not None else None, "waiting": waiting,
                "asking": self.pages.asking.save_state() if asking else None,
                "documents": self._documents.save_state() if self._documents is not None else None,
                "in_documents": self.pages.shows_documents()}

    def restore_state(self, state: dict[str, Any]) -> None:
        """Show at once what `save_state` found; the files are read again, as at a start."""
        self.restore()
        for entry in state["entries"]:
            entry.report = None
            self.workspace().add(entry, show=entry is state["shown"])
        if state["entries"]:
            self.workspace().rows.come_back(*state["where"])
            self.workspace().reading.restore_state(state["reading"])
            self.pages.setCurrentWidget(self.workspace())
        if state["asking"] is not None:
            self.pages.asking.restore_state(*state["asking"])
            self._ask()
        for wanted in state["waiting"]:
            self._add(wanted)
        if state["documents"] is not None:
            self.documents().restore_state(state["documents"])
        if state["in_documents"]:
            self._show_documents()

    def cancel(self) -> None:
        """Stop reading; what was read before stays."""
        reading = self.queue.reading
        if reading is not None and reading.eval_for is not None:
            self._keep_eval(reading.eval_for)
        if self._workspace is not None:
            self._workspace.reading.show_again()
        self.queue.cancel()
        self._keep()
        self._finish()

    def _prepare(self) -> None:
        """Make the page with the rows while the first file is read; making it afterwards would stop the window."""
        if self._workspace is None:
            run_task(self, lambda task: importlib.import_module("slmstudio.gui.data.workspace"),
                     lambda module: self.workspace(), self.banner.show_error)

    def _add(self, wanted: ReadRequest) -> None:
        if self.queue.reading is None:
            self.banner.clear()
            self._errors, self._notes = [], []
            self.progress.start()
        self.queue.add(wanted)

    def _was_read(self, wanted: ReadRequest, found: Read | Question) -> None:
        if isinstance(found, Question):
            self.pages.asking.add(wanted, found)
            return
        if self.pages.is_asking():
            self.pages.asking.drop(wanted.path)
        self._notes += found.notes
        if wanted.by_hand:
            self.memory.keep_reading(found.dataset)
        if wanted.eval_for is not None:
            self._use_for_evaluation(wanted.eval_for, found.dataset)
        else:
            self._put(wanted, found)

    def _put(self, wanted: ReadRequest, found: Read) -> None:
        """Put a dataset on the list, as it was there before."""
        from slmstudio.gui.data.recent import DataEntry

        page, kept, entry = self.workspace(), wanted.kept, DataEntry(
            found.dataset, found.eval_dataset, by_shape=found.by_shape)
        if kept is not None:
            entry.eval_fraction = entry.usual_share if kept.eval_fraction is None else kept.eval_fraction
            entry.split_seed, entry.split_by, entry.lost_said = kept.split_seed, kept.split_by, kept.eval_said
            entry.lost_eval = kept.eval_path if found.eval_dataset is None else None
        known = page.find(wanted.path)
        if known is not None and wanted.by_hand:  # it is shown, or another one is by now
            known.eval_dataset, known.lost_eval = None, wanted.eval_path if found.eval_dataset is None else None
            known.lost_said = wanted.eval_said or ""
            page.add(entry, show=False)
        else:
            page.add(entry, show=not wanted.again and (not wanted.restore or kept is None or kept.shown))
        if kept is not None and kept.used and self._session.dataset is None:
            page.choose(entry)
        if wanted.line:
            page.rows.show_line(wanted.line)
        if not (self.pages.shows_documents() and (wanted.restore or wanted.again)):
            self.pages.setCurrentWidget(page)

    def _use_for_evaluation(self, entry: DataEntry, dataset: Dataset) -> None:
        error = other_kind(dataset, entry.dataset)
        if error is None:
            self.workspace().set_eval_dataset(entry, dataset)
        else:
            self._keep_eval(entry)
            self._errors.append(error)

    def _was_not_read(self, wanted: ReadRequest, error: Exception) -> None:
        from slmstudio.core.data.remembered import Missing

        if wanted.eval_for is not None:
            self._keep_eval(wanted.eval_for)
        if wanted.restore and wanted.kept is not None and isinstance(error, Missing):
            self.memory.set_missing(wanted.kept, error)
        gone = wanted.again and isinstance(error, Missing)
        entry = self.workspace().find(wanted.path) if gone else None
        if wanted.by_hand and self._report_by_hand(wanted, error):
            return
        if entry is not None:  # its only row was undone, so the file is gone
            self.workspace().remove(entry)
            self.memory.forget(wanted.path)
        elif wanted.restore and isinstance(error, UserError):
            self._notes.append(error)
        else:
            self._errors.append(error)
        self._keep()

    def _report_by_hand(self, wanted: ReadRequest, error: Exception) -> bool:
        """Say that columns can't be read as a user chose, where they chose. False if that is no longer shown."""
        page = self._workspace
        if self.pages.is_asking() and self.pages.asking.path == wanted.path:
            self.pages.asking.show_error(error)
        elif page is not None and page.entry is not None and page.entry.dataset.path == wanted.path:
            page.reading.show_error(error)
        else:
            return False
        return True

    def _show_first_rows(self, wanted: ReadRequest, found: Preview) -> None:
        if self.pages.show_first_rows(wanted, found):
            self._show_progress()

    def _ask(self) -> None:
        page = self._workspace
        self.pages.ask(page if page is not None and page.entries else None)

    def _leave_asked(self, wanted: ReadRequest) -> None:
        if wanted.eval_for is not None:
            self._keep_eval(wanted.eval_for)
        if self._workspace is not None:
            self._workspace.reading.show_again()
        self._ask()

    def _finish(self) -> None:
        """Everything is read: say what is wrong, all together."""
        page = self._workspace
        if page is not None and page.entry is None and page.entries:
            page.list.setCurrentRow(0)  # the one that was shown isn't there
        if self._errors or self._notes:
            self.banner.show_error(all_together(self._errors, self._notes), "bad" if self._errors else "warn")
        self._errors, self._notes = [], []
        self._ask()
        self._show_progress()
        self._count_answers()
        self.idle.emit()

    def _keep(self) -> None:
        page = self._workspace
        waiting = [each.kept for each in (self.queue.reading, *self.queue.waiting)
                   if each is not None and each.restore and each.kept is not None]
        self.memory.keep(page.entries if page is not None else [], page.entry if page is not None else None, waiting)

    def _show_recent(self) -> None:
        recent = self.memory.recent()
        self.pages.recent.show_files(recent, self.memory.missing)
        if self._workspace is not None:
            self._workspace.datasets.recent.show_files(recent, self.memory.missing)

    def _show_progress(self) -> None:
        self.progress.show_progress(empty=self.pages.is_empty())
        for button in self.pages.empty.buttons:
            button.setEnabled(self.queue.reading is None)

    def workspace(self) -> DataWorkspace:
        """The page with the datasets; made when the first one is read, so that the window starts without it."""
        if self._workspace is None:
            from slmstudio.gui.data.workspace import DataWorkspace

            page = self._workspace = DataWorkspace(self._session)
            page.datasets.add_wanted.connect(self.choose_files)
            page.datasets.folder_wanted.connect(self.choose_folder)
            page.datasets.documents_wanted.connect(self.open_documents)
            page.reread.connect(self._reread)
            page.datasets.dropped.connect(self.open_files)
            page.eval_file_wanted.connect(self._choose_eval_file)
            page.emptied.connect(self.pages.show_empty)
            page.changed.connect(self._keep)
            page.datasets.recent.chosen.connect(self.pages.chosen)
            page.datasets.recent.removed.connect(self.pages.removed)
            self.pages.addWidget(page)
            self._show_recent()
        return self._workspace

    def confirm_close(self) -> bool:
        """Ask what to do with unsaved changes when the window closes. False: don't close."""
        if self._documents is not None:
            self._documents.save_state()  # what is written there goes to the disk
        if self._workspace is None:
            return True
        from slmstudio.gui.data.hand_edits import may_drop

        return may_drop(self, self._workspace.entries)

    def _choose_eval_file(self, entry: DataEntry) -> None:
        dialog = choose_files(self, tr("Choose the file with evaluation rows"), MODE.ExistingFile)
        dialog.fileSelected.connect(lambda name: self._add(ReadRequest(Path(name), eval_for=entry)))
        dialog.rejected.connect(lambda: self._keep_eval(entry))

    def _keep_eval(self, entry: DataEntry) -> None:
        """No other file was chosen or read: show the current one."""
        self.workspace().set_eval_dataset(entry, entry.eval_dataset)

    def take_files(self, files: list[Path]) -> None:
        if self._documents is not None and self.pages.shows_documents():
            self._documents.take_files(files)
        else:
            self.open_files(files)
