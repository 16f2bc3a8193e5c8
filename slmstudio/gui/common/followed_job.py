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
        job: the one that is followed, or was last; None before there is one.
        thread: what follows it; None when no job is followed.
        history: what has happened to it.
        was_over: whether its end, of which `ended` tells, was there before it was followed.

    Signals:
        begun: another job is followed from now on.
        replayed: `history` is another object now: all that had happened before the job was followed is in it.
        moved(list[dict]): these events came, and are in `history`; none after `replayed`.
        ended(Job, Outcome): it is over, and followed no more.
        lost(Job, Exception): it couldn't be started or followed, and is followed no more.
        failed(Exception): it couldn't be started, commanded or followed.
    """

    begun = Signal()
    replayed = Signal()
    moved = Signal(list)
    ended = Signal(object, object)
    lost = Signal(object, object)
    failed = Signal(object)

    def __init__(self, parent: QObject | None, session: Session | None = None):
        """
        Args:
            session: whose status bar tells about the job; None tells nobody.
        """
        super().__init__(parent)
        self._session = session
        self.job: Job | None = None
        self.thread: JobThread | None = None
        self.history = RunHistory()
        self.was_over = False

    def is_running(self) -> bool:
        """Whether a job is followed that hasn't ended."""
        return self.thread is not None

    def has_ended(self) -> bool:
        """Whether the last job is over, and everybody was told so."""
        return self.job is not None and self.thread is None

    def follow(self, job: Job, *, start_worker: bool = False) -> None:
        """Follow a job from its first event.

        Args:
            start_worker: start, or start again from where it was.
        """
        self.detach()
        self.job, self.history = job, RunHistory()
        self.thread = thread = JobThread(job, start_worker=start_worker)
        thread.caught_up.connect(self._catch_up)
        thread.events.connect(self._take)
        thread.ended.connect(self._ended)
        thread.failed.connect(self._failed)
        thread.start()
        self.begun.emit()

    def detach(self) -> Job | None:
        """Follow it no more; the job continues, and others may follow it. None if there was none."""
        if self.thread is None:
            return None
        self.thread.leave_and_wait()
        return self._let_go()

    def send(self, command: str, **arguments: Any) -> None:
        """Hand a command to the worker; see `JobThread.send`."""
        if self.thread is not None:
            self.thread.send(command, **arguments)

    def end_now(self) -> None:
        """End the worker without waiting for its answer."""
        if self.thread is not None:
            self.thread.end_now()

    def show_status(self, status: JobStatus | None) -> None:
        """What the status bar tells about this job, unless it tells about a run; None tells nothing."""
        if self._session is not None:
            self._session.set_job(status, self)

    @Slot(object)
    def _catch_up(self, history: RunHistory) -> None:
        if self.sender() is self.thread:
            self.history = history
            self.replayed.emit()
            if history.last_time is not None:
                self.moved.emit([])

    @Slot(list)
    def _take(self, events: list[dict[str, Any]]) -> None:
        if self.sender() is not self.thread:
            return  # of a job that was let go
        for event in events:
            self.history.add(event)
        self.moved.emit(events)

    @Slot(object)
    def _ended(self, outcome: Outcome) -> None:
        if self.thread is not None and self.sender() is self.thread:
            self.was_over = self.thread.was_over
            self.ended.emit(self._let_go(), outcome)

    @Slot(object)
    def _failed(self, error: Exception) -> None:
        if self.thread is None or self.sender() is not self.thread:
            return
        self.failed.emit(error)
        if self.thread is not None and not self.thread.job.is_alive():
            self.lost.emit(self._let_go(), error)

    def _let_go(self) -> Job:
        assert self.thread is not None
        job, self.thread = self.thread.job, None
        self.show_status(None)
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
