"""Prepares the starter model in the background, so that a first run needs neither a click nor a download for it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Signal

from slmstudio.core.model import library
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.tasks import run_task

if TYPE_CHECKING:
    from slmstudio.gui.model.work import ModelWork


class StarterPreparation(QObject):
    """Unpacks the package that came with the program into the library, unless the user cancels it.

    Signals:
        progressed(str, int, int): what it does, and how much of how much is done.
        ended: it is done, or was given up.
    """

    progressed = Signal(str, object, object)
    ended = Signal()

    def __init__(self, session: Session, work: ModelWork, parent: QObject):
        super().__init__(parent)
        self._session, self._work = session, work
        self._running = False
        work.progressed.connect(self._show)
        work.changed.connect(self._look)
        work.finished.connect(self._finished)
        work.cancelled.connect(self._cancelled)

    def begin(self) -> None:
        """Begin where the model isn't there yet, but its package is."""
        if self._session.settings.prepare_starter:
            run_task(self, lambda task: _package(), self._start, lambda error: None)

    def is_at_work(self) -> bool:
        """Whether it is prepared already, for a window before this one; then this tells about it."""
        from slmstudio.gui.model.work import PREPARE

        self._running = self._work.kind == PREPARE and self._work.target == library.starter_folder()
        return self._running

    def cancel(self) -> None:
        if self._running:
            self._work.cancel()

    def _start(self, gguf: Path | None) -> None:
        from slmstudio.core.jobs import new
        from slmstudio.gui.model.work import PREPARE

        if gguf is not None and self._work.target is None:
            self._running = True
            self._work.start(PREPARE, library.starter_folder(), partial(new.unpack, gguf, library.starter_folder()))

    def _show(self, text: str, done: int, total: int) -> None:
        if self._running:
            self.progressed.emit(text, done, total)

    def _look(self) -> None:
        if self._running and self._work.target is None:
            self._running = False
            self.ended.emit()

    def _finished(self, kind: str, folder: Path, result: dict[str, Any]) -> None:
        if folder == library.starter_folder():
            self._session.tell_starter_ready()

    def _cancelled(self, folder: Path) -> None:
        """Who cancelled it doesn't want it at the next start either; Prepare in the Model tab does it then."""
        if folder == library.starter_folder():
            self._session.settings.prepare_starter = False
            self._session.tell_settings_changed()


def _package() -> Path | None:
    """The package's file, where the model has still to be made of it."""
    return None if library.starter_ready() else library.starter_gguf()
