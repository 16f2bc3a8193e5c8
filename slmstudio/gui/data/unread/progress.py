"""How far the reading of files is."""

from __future__ import annotations

from collections.abc import Callable

from slmstudio.core.i18n import ntr, tr
from slmstudio.gui.common.widgets.areas import Card
from slmstudio.gui.common.widgets.labels import show_text
from slmstudio.gui.common.widgets.progress import ProgressStrip
from slmstudio.gui.data.queue import ReadingQueue


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
