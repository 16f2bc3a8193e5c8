"""What the Results tab shows while it reads the runs for the first time."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QStackedWidget

from slmstudio.core.i18n import tr
from slmstudio.gui.common.widgets.areas import EmptyState
from slmstudio.gui.common.widgets.buttons import PrimaryButton
from slmstudio.gui.common.widgets.progress import ProgressStrip

STRIP_WIDTH = 620


class ReadingPage(QStackedWidget):
    """A bar with Cancel; after that, a button that reads on.

    Signals:
        cancelled: the user pressed Cancel.
        go_on: read the rest.
    """

    cancelled = Signal()
    go_on = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.strip = ProgressStrip(name="runs_progress",
                                   tip=tr("Stop reading. What has been read is kept until you close the program."),
                                   cancelled=self.cancelled)
        self.strip.setFixedWidth(STRIP_WIDTH)
        button = PrimaryButton(tr("Read the runs"), tr("Read the runs, or the rest of them."), name="runs_read",
                               clicked=self.go_on)
        self._stopped = EmptyState(tr("Not all runs were read"), "", [button])
        self._stopped.setAcceptDrops(False)
        for page in (self.strip, self._stopped):
            self.addWidget(EmptyState.centred(page))

    def start(self) -> None:
        """The runs are being read from now on; nothing is seen of it when that takes no time."""
        self.setCurrentIndex(0)
        self.strip.start_soon(tr("Reading the runs"))

    def set_progress(self, done: int, total: int) -> None:
        """This many of the runs were read."""
        self.strip.set_progress(done, total)

    def end(self) -> None:
        self.strip.end()

    def show_cancelled(self, read: int) -> None:
        """Say that it was cancelled, and offer to continue."""
        self.show_stopped(tr("Reading was cancelled. The first {count:,} are kept, and reading can continue from "
                             "there.",
                             count=read)
            if read else tr("Reading was cancelled. Nothing was changed."))

    def show_stopped(self, why: str) -> None:
        """Say why there are no runs here."""
        self.strip.end()
        self._stopped.text.setText(why)
        self.setCurrentIndex(1)
