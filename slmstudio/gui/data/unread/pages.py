"""The pages of the Data tab."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from PySide6.QtCore import QSize, Signal
from PySide6.QtWidgets import QStackedWidget, QWidget

from slmstudio.core.i18n import tr
from slmstudio.gui.common.widgets.areas import EmptyState
from slmstudio.gui.common.widgets.buttons import PrimaryButton, SecondaryButton
from slmstudio.gui.data.file_dialogs import kinds
from slmstudio.gui.data.reading import ReadRequest

if TYPE_CHECKING:
    from slmstudio.core.data.reader import Preview
    from slmstudio.gui.data.recent import RecentList
    from slmstudio.gui.data.unread.first_rows import FirstRowsPage
    from slmstudio.gui.data.unread.question import QuestionPage

# -- What the Data tab shows before there is a dataset.


class DataEmpty(EmptyState):
    """Files to choose, a folder, or the sample.

    Signals:
        files_wanted, folder_wanted, sample_wanted: a button was pressed.
    """

    files_wanted = Signal()
    folder_wanted = Signal()
    sample_wanted = Signal()

    def __init__(self) -> None:
        choose = PrimaryButton(tr("Choose files…"), tr("Choose files with training rows (Ctrl+O)."), name="data_choose")
        folder = SecondaryButton(tr("Choose a folder…"), tr("Read all files with rows in a folder as one dataset."),
                                 name="data_folder")
        sample = SecondaryButton(tr("Try the sample: citizen help desk"),
                                 tr("Questions and answers from a city's help desk, in English and Hindi. They come "
                                    "with the program: good for a first try."), name="data_sample")
        self.buttons = (choose, folder, sample)
        super().__init__(tr("What should the model learn?"),
                         tr("Drop a file or a folder with questions and answers, conversations, better and worse "
                            "answers, or plain text. It stays on this machine."), self.buttons, kinds())
        for button, signal in zip(self.buttons, (self.files_wanted, self.folder_wanted, self.sample_wanted),
                                  strict=True):
            button.clicked.connect(signal)


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

    def __init__(self, progress: QWidget):
        """
        Args:
            progress: shown in the empty state.
        """
        super().__init__()
        self.empty = DataEmpty()
        self.empty.column.addWidget(progress)
        self.addWidget(EmptyState.centred(self.empty))
        self.currentChanged.connect(lambda _: self.updateGeometry())

    def minimumSizeHint(self) -> QSize:
        """That of the page that is shown: another one that needs more room doesn't make it scroll."""
        return self.currentWidget().minimumSizeHint()

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
        from slmstudio.gui.data.unread.first_rows import FirstRowsPage

        made = FirstRowsPage()
        self.addWidget(made)
        return made

    @cached_property
    def asking(self) -> QuestionPage:
        """The page that asks how a file is to be read."""
        from slmstudio.gui.data.unread.question import QuestionPage

        made = QuestionPage()
        made.said.connect(self.said)
        made.left.connect(self.left)
        self.addWidget(made)
        return made

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
        elif not self.is_empty():
            self.setCurrentWidget(before) if before is not None else self.show_empty()
