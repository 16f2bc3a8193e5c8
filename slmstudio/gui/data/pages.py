"""The pages of the Data tab, what is shown before there is a dataset, and the dialogs in which files are chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from PySide6.QtCore import QSize, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QFileDialog, QStackedWidget, QWidget

from slmstudio.core.i18n import ntr, tr
from slmstudio.gui.common.dialogs import LastFolder, open_dialog
from slmstudio.gui.common.widgets.areas import Card, EmptyState
from slmstudio.gui.common.widgets.buttons import PrimaryButton, SecondaryButton, keep_room
from slmstudio.gui.common.widgets.labels import show_text
from slmstudio.gui.common.widgets.progress import ProgressStrip
from slmstudio.gui.data.reading import ReadingQueue, ReadRequest

if TYPE_CHECKING:
    from slmstudio.core.data.reader import Preview
    from slmstudio.gui.data.question import QuestionPage
    from slmstudio.gui.data.recent import RecentList
    from slmstudio.gui.data.rows_table import FirstRowsPage


def kinds() -> str:
    """What can be read, in a line."""
    return tr("JSONL, JSON, CSV, Excel, Parquet, SQLite, text, Markdown, PDF, Word; also packed as .gz, .zst or .zip")


def documents_tip() -> str:
    return tr("Let a model on this machine write questions and answers from PDF, Word and other documents, each with "
              "its source, and review them.")


def name_filters() -> list[str]:
    """Filters for all files that can be read, for each kind of them, and for any file."""
    from slmstudio.core.data import opening, source

    packed = (".gz", ".zst", ".zip")
    groups = ((tr("Datasets"), (*opening.SUFFIXES, *source.PAGE_SUFFIXES, *packed)),
              (tr("JSONL and JSON"), opening.JSON_SUFFIXES),
              (tr("CSV and TSV"), opening.TABLE_SUFFIXES),
              (tr("Excel and OpenDocument"), (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")),
              (tr("Parquet and Arrow"), (".parquet", ".arrow", ".feather")),
              (tr("SQLite databases"), opening.DATABASE_SUFFIXES),
              (tr("Text and Markdown"), opening.TEXT_SUFFIXES), (tr("PDF and Word"), (".pdf", ".docx")),
              (tr("Packed files"), packed))
    return [*(f"{name} ({_patterns(suffixes)})" for name, suffixes in groups), tr("All files (*)")]


def _patterns(suffixes: Sequence[str]) -> str:
    return " ".join(f"*{suffix}" for suffix in suffixes)


def choose_files(parent: QWidget, title: str, mode: QFileDialog.FileMode) -> QFileDialog:
    """An open dialog for one file or several; it deletes itself."""
    dialog = QFileDialog(parent, title)
    dialog.setFileMode(mode)
    dialog.setNameFilters(name_filters())
    LastFolder.begin_in(dialog)
    open_dialog(dialog)
    return dialog


class ReadingProgress(Card):
    """A strip above the datasets, and another one for the empty state, where it is while there is no dataset.

    Attributes:
        strips: the one above, and the one for the empty state.
    """

    def __init__(self, queue: ReadingQueue, cancel: Callable[[], None]):
        super().__init__()
        self._queue = queue
        self.strips = (ProgressStrip(), ProgressStrip())
        self.body.addWidget(self.strips[0])
        for strip in self.strips:
            strip.cancelled.connect(cancel)
            queue.progressed.connect(strip.set_progress)

    def start(self) -> None:
        """Begin with another file."""
        for strip in self.strips:
            strip.start("")

    def show_progress(self, *, empty: bool) -> None:
        """Show what is being read.

        Args:
            empty: the empty state is shown.
        """
        now, waiting = self._queue.reading, len(self._queue.waiting)
        text = tr("Reading {name}", name=now.path.name) if now is not None else ""
        if now is not None and waiting:
            text = ntr("Reading {name} · {n:,} more waiting", "Reading {name} · {n:,} more waiting", waiting,
                       name=now.path.name)
        for strip in self.strips:
            show_text(strip.label, text)
        self.setVisible(now is not None and not empty)
        self.strips[1].setVisible(now is not None and empty)


class DataEmpty(EmptyState):
    """Files to choose, a folder, documents to make questions from, or the sample.

    Attributes:
        buttons: for these four.
    """

    def __init__(self) -> None:
        choose = PrimaryButton(tr("Choose files…"), tr("Choose files with training rows (Ctrl+O)."), name="data_choose")
        folder = SecondaryButton(tr("Choose a folder…"), tr("Read all files with rows in a folder as one dataset."),
                                 name="data_folder")
        documents = SecondaryButton(tr("From documents…"), documents_tip(), name="data_documents")
        sample = SecondaryButton(tr("Try the sample: citizen help desk"),
                                 tr("Questions and answers from a city's help desk, in English and Hindi. They come "
                                    "with the program: good for a first try."), name="data_sample")
        self.buttons = (choose, folder, documents, sample)
        super().__init__(tr("What should the model learn?"),
                         tr("Drop a file or a folder with questions and answers, conversations, better and worse "
                            "answers, or plain text. It stays on this machine."), self.buttons, kinds())


class DataPages(QStackedWidget):
    """What can be read, the first rows of a large file, the question how a file is to be
    read, and the page of the datasets.

    Pages are made when they are first shown, so that the window starts without them.

    Signals:
        said(Wanted): a user said how a file is to be read.
        left(Wanted): a user doesn't want to say it.
        chosen(Path), removed(Path): of the recent files.
    """

    said = Signal(object)
    left = Signal(object)
    chosen = Signal(object)
    removed = Signal(object)
    documents: QWidget | None = None
    """Where documents become questions; the Data tab makes it. Nothing but the user leaves it."""

    def __init__(self, progress: QWidget):
        """
        Args:
            progress: shown in the empty state.
        """
        super().__init__()
        self.empty = DataEmpty()
        self.empty.column.addWidget(progress)
        keep_room(progress)
        self.addWidget(EmptyState.centred(self.empty))
        self.currentChanged.connect(lambda _: self.updateGeometry())

    def minimumSizeHint(self) -> QSize:
        """That of the page that is shown, since another one mustn't make it scroll. The empty one's text wraps at this
        width."""
        page = self.currentWidget()
        hint, layout = page.minimumSizeHint(), page.layout()
        if self.is_empty() and layout is not None:
            hint.setHeight(max(hint.height(), layout.totalMinimumHeightForWidth(self.width())))
        return hint

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if event.size().width() != event.oldSize().width():
            self.updateGeometry()

    @cached_property
    def recent(self) -> RecentList:
        """The recent files in the empty state."""
        from slmstudio.gui.data.recent import RecentList

        made = RecentList()
        made.chosen.connect(self.chosen)
        made.removed.connect(self.removed)
        self.empty.column.addWidget(made)
        return made

    @cached_property
    def first_rows(self) -> FirstRowsPage:
        """The page with the first rows of a large file."""
        from slmstudio.gui.data.rows_table import FirstRowsPage

        made = FirstRowsPage()
        self.addWidget(made)
        return made

    @cached_property
    def asking(self) -> QuestionPage:
        """The page that asks how a file is to be read."""
        from slmstudio.gui.data.question import QuestionPage

        made = QuestionPage()
        made.said.connect(self.said)
        made.left.connect(self.left)
        self.addWidget(made)
        return made

    def shows_documents(self) -> bool:
        return self.documents is not None and self.currentWidget() is self.documents

    def is_empty(self) -> bool:
        """Whether the empty state is shown."""
        return self.currentIndex() <= 0

    def show_empty(self) -> None:
        self.setCurrentIndex(0)

    def show_first_rows(self, wanted: ReadRequest, found: Preview) -> bool:
        """Show them while there is nothing else to see. Returns whether they are shown."""
        if not found.rows or not self.is_empty():
            return False
        self.first_rows.show_rows(wanted.path, found)
        self.setCurrentWidget(self.first_rows)
        return True

    def is_asking(self) -> bool:
        """Whether there is a file that doesn't say how it is to be read."""
        return "asking" in vars(self) and self.asking.path is not None

    def ask(self, before: QWidget | None) -> None:
        """Ask about the first file that must be asked about; without one, show what was shown before.

        Args:
            before: the page with datasets; None if there is none.
        """
        if self.is_asking():
            self.setCurrentWidget(self.asking)
            self.asking.show_first()
        elif not self.is_empty() and not self.shows_documents():
            self.setCurrentWidget(before) if before is not None else self.show_empty()
