"""Unpacks a GGUF file into a folder that can learn: a worker's job, with its progress."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal

from slmstudio.core.errors import UserError, from_os_error
from slmstudio.core.jobs import new
from slmstudio.core.jobs.job import Outcome
from slmstudio.gui.common.session import JobStatus, Session


class ModelImport(QObject):
    """One import at a time.

    Signals:
        changed: it began, went on, or ended.
        progressed(str, int, int): what it does now, and how much of how much is done; 0 of 0 when nobody knows.
        finished(Path): the folder is there.
        failed(UserError): it is not, and why. Nothing comes when the user cancelled.
    """

    changed = Signal()
    progressed = Signal(str, object, object)
    finished = Signal(object)
    failed = Signal(object)

    def __init__(self, session: Session, parent: QObject):
        super().__init__(parent)
        self._session = session
        self.target: Path | None = None
        """The folder that is being made, while one is."""

    def start(self, gguf: Path, target: Path) -> None:
        """Begin to unpack `gguf` into the folder `target`."""
        from slmstudio.gui.common.job_thread import JobThread

        if self.target is not None:
            self.failed.emit(UserError(self.tr("{name} is being prepared.").format(name=self.target.name), "",
                                       self.tr("Wait until it is done, or cancel it.")))
            return
        try:
            job = new.unpack(gguf, target)
        except OSError as error:
            self.failed.emit(from_os_error(error, "begin the import"))
            return
        self.target = target
        self._thread = JobThread(job, self, start_worker=True)
        self._thread.events.connect(self._follow)
        self._thread.ended.connect(self._ended)
        self._thread.failed.connect(self._not_followed)
        self._thread.start()
        self._show(self.tr("Starting"), 0, 0)
        self.changed.emit()

    def cancel(self) -> None:
        """End the import. Nothing of it is kept."""
        if self.target is not None:
            self._thread.cancel()
            self._show(self.tr("Cancelling"), 0, 0)

    def _follow(self, events: list[dict[str, Any]]) -> None:
        for event in events:
            if event.get("type") == "phase":
                self._show(self._phase(event), 0, 0)
            elif event.get("type") == "progress":
                self._show(self._phase(event), event.get("done") or 0, event.get("total") or 0)

    def _phase(self, event: dict[str, Any]) -> str:
        phase = str(event.get("phase") or "")
        words = {"reading": self.tr("Reading the file"), "weights": self.tr("Unpacking the weights"),
                 "tokenizer": self.tr("Rebuilding the tokenizer"), "writing": self.tr("Writing the model")}
        return words.get(phase, phase)

    def _show(self, text: str, done: int, total: int) -> None:
        if self.target is None:
            return
        self.progressed.emit(text, done, total)
        name = self.tr("Preparing {name}").format(name=self.target.name)
        self._session.set_job(JobStatus(name, done, total, text=text))

    def _ended(self, outcome: Outcome) -> None:
        folder = self._clear()
        if outcome.was_successful():
            self.finished.emit(Path(outcome.result.get("folder") or folder))
        elif outcome.state != "cancelled":
            self.failed.emit(outcome.user_error())

    def _not_followed(self, error: Exception) -> None:
        self._clear()
        self.failed.emit(error)

    def _clear(self) -> Path:
        folder, self.target = self.target, None
        self._session.set_job(None)
        self.changed.emit()
        assert folder is not None
        return folder
