"""What the Model tab lets a worker do: unpack a GGUF file, fetch a model, measure whether one fits. One at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal

from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.jobs import new
from slmstudio.core.jobs.job import Job
from slmstudio.core.jobs.outcome import Outcome
from slmstudio.gui.common.followed_job import FollowedJob
from slmstudio.gui.common.run_texts import work_text
from slmstudio.gui.common.session import JobStatus, Session
from slmstudio.gui.common.tasks import run_task

PREPARE, FETCH, MEASURE = "prepare", "fetch", "measure"


def download(repo: str) -> Job:
    """Fetch a model; one that was begun, in the same revision and from the same address. For a thread. Raises OSError.
    """
    from slmstudio.core.model.hub import place

    begun = next((each for each in place.unfinished() if each.repo.lower() == repo.lower()), None)
    return new.download(repo) if begun is None else new.download(repo, begun.revision, begun.endpoint)


class ModelWork(QObject):
    """Follows the one job that is running for a model.

    Attributes:
        target: the model's folder, while a job is running on it.
        kind: `PREPARE`, `FETCH` or `MEASURE`.

    Signals:
        changed: one begins or ended.
        progressed(str, int, int): what it does, and how much of how much is done; 0 of 0 when nobody knows.
        finished(str, Path, dict): the kind, the model's folder, and what the job found.
        cancelled(Path): the user ends the work on this folder.
        failed(UserError): it didn't work, and why. Nothing comes when the user ended it.
    """

    changed = Signal()
    progressed = Signal(str, object, object)
    finished = Signal(str, object, object)
    failed = Signal(object)
    cancelled = Signal(object)

    def __init__(self, session: Session, parent: QObject):
        super().__init__(parent)
        self.followed = FollowedJob(self, session, "model")
        self.followed.moved.connect(self._show_progress)
        self.followed.ended.connect(self._ended)
        self.followed.lost.connect(self._clear)
        self.followed.failed.connect(self.failed)
        self._ending = ""
        self.target: Path | None = None
        self.kind = ""
        session.run_started.connect(self._give_way)
        if (before := self.followed.before()) is not None:
            (self.kind, self.target), job = before
            self.followed.follow(job, about=(self.kind, self.target))

    def start(self, kind: str, target: Path, make: Callable[[], Job]) -> None:
        """Begin to work on the model of `target`.

        Args:
            make: makes the job, in a thread; what it raises is told by `failed`.
        """
        if self.target is not None:
            self.failed.emit(UserError(tr("{name} is still in progress.", name=self.target.name), "",
                                       tr("Wait until it is done, or cancel it.")))
            return
        self.kind, self.target, self._ending = kind, target, ""
        self._show(tr("Starting"), 0, 0)
        self.changed.emit()
        run_task(self, lambda task: make(), self._follow, self._not_made)

    def cancel(self) -> None:
        """End it. Nothing of it is kept."""
        if self.target is not None:
            self.cancelled.emit(self.target)
        self._end("cancel", tr("Cancelling"))

    def _give_way(self) -> None:
        """A run starts: nothing is measured beside it, which would take its memory and be wrong."""
        if self.kind == MEASURE and self.target is not None:
            self.cancel()

    def pause(self) -> None:
        """End a download, and keep what has arrived: starting again takes it up."""
        self._end("pause", tr("Pausing"))

    def leave(self) -> None:
        """The window closes: nobody could see or end the job."""
        if self.target is not None:
            self._end("pause" if self.kind == FETCH else "cancel", "")

    def _end(self, command: str, text: str) -> None:
        self._ending = command
        self.followed.send(command)
        self._show(text, 0, 0)

    def _follow(self, job: Job) -> None:
        self.followed.follow(job, start_worker=True, about=(self.kind, self.target))
        if self._ending:
            self.followed.send(self._ending)

    def _show_progress(self) -> None:
        history = self.followed.history
        if not self._ending:
            text = work_text(history, history.detail if self.kind == FETCH else "")
            self._show(text, int(history.done), int(history.total))

    def _show(self, text: str, done: int, total: int) -> None:
        if self.target is None:
            return
        self.progressed.emit(text, done, total)
        name = self.target.name
        doing = {PREPARE: tr("Preparing {name}", name=name), FETCH: tr("Downloading {name}", name=name),
                 MEASURE: tr("Fit check of {name}", name=name)}[self.kind]
        self.followed.show_status(JobStatus(doing, done, total, text=text))

    def _ended(self, job: Job, outcome: Outcome) -> None:
        kind, folder = self.kind, self._clear()
        wanted = outcome.state in ("cancelled", "paused")
        if kind == MEASURE:  # of one that was cancelled, it removes the rows
            run_task(self, lambda task: _fit(job, outcome), lambda result: self.finished.emit(kind, folder, result),
                     lambda error: None if wanted else self.failed.emit(error))
        elif wanted:
            return
        elif outcome.was_successful():
            self.finished.emit(kind, folder, outcome.result)
        else:
            self.failed.emit(outcome.user_error())

    def _not_made(self, error: Exception) -> None:
        self._clear()
        self.failed.emit(error)

    def _clear(self) -> Path:
        folder, self.target = self.target, None
        self.followed.show_status(None)
        self.changed.emit()
        assert folder is not None
        return folder


def _fit(job: Job, outcome: Outcome) -> dict[str, Any]:
    """What a fit check found, also where memory ran out. Raises UserError where it found nothing."""
    from slmstudio.core.run.memory import fit_badge

    return fit_badge.of_job(job, outcome)
