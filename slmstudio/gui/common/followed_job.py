"""The job that a view follows, as state that the view binds to: what has happened to it, and its line in the status
bar, and the notice of its end, whichever tab the user looks at then."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QObject, Signal, Slot

from slmstudio.core.i18n import tr
from slmstudio.core.jobs.job import Job
from slmstudio.core.jobs.outcome import Outcome
from slmstudio.core.run.history import RunHistory
from slmstudio.gui.common.job_thread import JobThread
from slmstudio.gui.common.session import JobStatus, Notice, Session


class FollowedJob(QObject):
    """Follows one job at a time.

    Attributes:
        thread: what follows it; None when no job is followed.
        history: what has happened to it, or to the last one.

    Signals:
        moved(list[dict]): these events came, and are in `history`.
        ended(Job, Outcome): it is over, and followed no more.
        lost(Job): it couldn't be started or followed, and is followed no more; `failed` says why.
        failed(Exception): it couldn't be started, commanded or followed.
    """

    moved = Signal(list)
    ended = Signal(object, object)
    lost = Signal(object)
    failed = Signal(object)

    def __init__(self, parent: QObject, session: Session | None = None):
        """
        Args:
            session: whose status bar tells about the job; None tells nobody.
        """
        super().__init__(parent)
        self._session = session
        self._status: JobStatus | None = None
        self.thread: JobThread | None = None
        self.history = RunHistory()

    @property
    def job(self) -> Job | None:
        return self.thread.job if self.thread is not None else None

    def follow(self, job: Job, *, start_worker: bool = False) -> None:
        """Follow a job from its first event."""
        self.history = RunHistory()
        self.thread = thread = JobThread(job, start_worker=start_worker)
        thread.events.connect(self._take)
        thread.ended.connect(self._ended)
        thread.failed.connect(self._failed)
        thread.start()

    def detach(self) -> Job | None:
        """Follow it no more; the job continues, and others may follow it. None if there was none."""
        thread, self.thread = self.thread, None
        if thread is None:
            return None
        thread.leave_and_wait()
        return thread.job

    def send(self, command: str) -> None:
        """Hand a command to the worker."""
        if self.thread is not None:
            self.thread.send(command)

    def show_status(self, status: JobStatus) -> None:
        """Show this in the status bar, unless that shows another job."""
        assert self._session is not None
        if self._session.job in (None, self._status):
            self._status = status
            self._session.set_job(status)

    def hide_status(self) -> None:
        """Take it out of the status bar."""
        if self._session is not None and self._session.job == self._status:
            self._session.set_job(None)

    @Slot(list)
    def _take(self, events: list[dict[str, Any]]) -> None:
        if self.sender() is not self.thread:
            return  # of a job that was let go
        for event in events:
            self.history.add(event)
        self.moved.emit(events)

    @Slot(object)
    def _ended(self, outcome: Outcome) -> None:
        if self.sender() is self.thread:
            self.ended.emit(self._let_go(), outcome)

    @Slot(object)
    def _failed(self, error: Exception) -> None:
        if self.sender() is not self.thread:
            return
        self.failed.emit(error)
        if self.thread is not None and not self.thread.job.is_alive():
            self.lost.emit(self._let_go())

    def _let_go(self) -> Job:
        assert self.thread is not None
        job, self.thread = self.thread.job, None
        self.hide_status()
        return job


TRAINING, EXPORT, EVALUATION = "training", "export", "evaluation"


def tell_end(session: Session, kind: str, name: str, outcome: Outcome) -> None:
    """Tell everybody how a run, an export or an evaluation ended. What the user ended isn't news.

    Args:
        kind: `TRAINING`, `EXPORT` or `EVALUATION`.
        name: of the run.
    """
    if outcome.state in ("cancelled", "paused", "stopped"):
        return
    if outcome.was_successful():
        title = {TRAINING: tr("Training is finished"), EXPORT: tr("The export is finished"),
                 EVALUATION: tr("The evaluation is finished")}[kind]
        session.notice.emit(Notice(title, name))
    elif outcome.result.get("consent"):
        session.notice.emit(Notice(tr("Training needs your decision"),
                                   tr("{name}: {what}", name=name, what=outcome.user_error().what), urgent=True))
    else:
        title = {TRAINING: tr("Training ended early"), EXPORT: tr("The export failed"),
                 EVALUATION: tr("The evaluation failed")}[kind]
        session.notice.emit(Notice(title, tr("{name}: {what}", name=name, what=outcome.user_error().what),
                                   urgent=True))
