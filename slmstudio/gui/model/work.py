"""Getting a base model ready: a GGUF file is unpacked, or a model is fetched. One at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from slmstudio.core.errors import UserError
from slmstudio.core.jobs.job import Job, Outcome
from slmstudio.core.run.history import RunHistory
from slmstudio.gui.common.job_thread import JobThread
from slmstudio.gui.common.run_texts import phase_text
from slmstudio.gui.common.session import JobStatus, Session
from slmstudio.gui.common.tasks import run_task

PREPARE, FETCH = "prepare", "fetch"
KEPT = ("cancelled", "paused")
"""States in which a job ends because the person wanted it."""


class ModelWork(QObject):
    """
    Signals:
        changed: one begins or ended; `kind` and `target` tell which.
        progressed(str, int, int): what it does, bytes or steps done, and of how many; 0 of 0 when nobody knows.
        finished(Path): the folder is there.
        failed(UserError): it isn't, and why. Nothing comes when the person ended it.
    """

    changed = Signal()
    progressed = Signal(str, object, object)
    finished = Signal(object)
    failed = Signal(object)

    def __init__(self, session: Session, parent: QObject):
        super().__init__(parent)
        self._session = session
        self._thread: JobThread | None = None
        self._history = RunHistory()
        self.target: Path | None = None
        """The folder that is being made, while one is."""
        self.kind = ""
        """`PREPARE` or `FETCH`."""

    def start(self, kind: str, target: Path, make: Callable[[], Job]) -> None:
        """Begin to make the folder `target`.

        Args:
            make: makes the job, in a thread; what it raises is told by `failed`.
        """
        if self.target is not None:
            self.failed.emit(UserError(self.tr("{name} isn't done yet.").format(name=self.target.name), "",
                                       self.tr("Wait until it is, or cancel it.")))
            return
        self.kind, self.target, self._history = kind, target, RunHistory()
        self._show(self.tr("Starting"))
        self.changed.emit()
        run_task(self, lambda task: make(), self._follow, self._lost)

    def cancel(self) -> None:
        """End it. Nothing of an unpacked file is kept."""
        self._end("cancel", self.tr("Cancelling"))

    def pause(self) -> None:
        """End a download; what was fetched is kept, and starting again goes on from there."""
        self._end("pause", self.tr("Pausing"))

    def _end(self, command: str, text: str) -> None:
        if self._thread is not None:
            self._thread.send(command)
            self._show(text)

    def _follow(self, job: Job) -> None:
        self._thread = thread = JobThread(job, self, start_worker=True)
        thread.events.connect(self._take)
        thread.ended.connect(self._ended)
        thread.failed.connect(self._lost)
        thread.start()

    def _take(self, events: list[dict[str, object]]) -> None:
        for event in events:
            self._history.add(event)
        history = self._history
        self._show(f"{phase_text(history.phase)} {history.detail}".strip(), int(history.done), int(history.total))

    def _show(self, text: str, done: int = 0, total: int = 0) -> None:
        if self.target is None:
            return
        self.progressed.emit(text, done, total)
        name = self.tr("Preparing {name}") if self.kind == PREPARE else self.tr("Downloading {name}")
        self._session.set_job(JobStatus(name.format(name=self.target.name), done, total,
                                        text="" if total else text))

    def _ended(self, outcome: Outcome) -> None:
        folder = self._clear()
        if outcome.was_successful():
            self.finished.emit(Path(outcome.result.get("folder") or folder))
        elif outcome.state not in KEPT:
            self.failed.emit(outcome.user_error())

    def _lost(self, error: Exception) -> None:
        """The job couldn't be made or followed."""
        if self._thread is None or not self._thread.job.is_alive():
            self._clear()
        self.failed.emit(error)

    def _clear(self) -> Path:
        folder, self.target, self._thread = self.target, None, None
        self._session.set_job(None)
        self.changed.emit()
        assert folder is not None
        return folder
