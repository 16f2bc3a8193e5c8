"""The job that a view follows, as state that the view binds to: what has happened to it, its line in the status bar,
and the notice of its end, whichever tab the user looks at then. It is read in a thread of its own: the window never
waits for a file or a process."""

from __future__ import annotations

import queue
import threading
import time
from typing import Any

from PySide6.QtCore import QObject, Signal, Slot

from slmstudio.core import files, jobs
from slmstudio.core.errors import UserError, os_errors_as
from slmstudio.core.i18n import tr
from slmstudio.core.jobs.job import Job
from slmstudio.core.jobs.outcome import Outcome
from slmstudio.core.run.history import RunHistory
from slmstudio.core.run.store import RUNS
from slmstudio.gui.common.session import JobStatus, Session
from slmstudio.gui.common.tasks import LivingThread

SECONDS_BETWEEN_BATCHES = 0.05
BATCH_LIMIT = 5000
"""Events in one signal: few enough that the UI thread takes them within a frame."""
GRACE_SECONDS = 60.0
"""How long a worker that was asked to end may go without a sign of work, and how long it may continue with steps."""
CLOSING_SECONDS = 3.0
"""How long a worker may take to write its last events once its outcome is there."""


class JobThread(LivingThread):
    """Starts a job's worker, or attaches to it, and turns its events into signals.

    The worker is a process of its own: when this thread ends, it works on.

    Attributes:
        was_over: whether the job had ended before this thread began.

    Signals:
        caught_up(RunHistory): once, before all else: what had happened before this thread began. It is the receiver's
            from now on. A long run is so attached to in no UI time.
        events(list[dict]): the later events in their order; at most 20 signals a second.
        ended(Outcome): the job is over, once, after its last event.
        failed(Exception): the job couldn't be started, commanded or followed. If it was running already, it is
            followed all the same.
    """

    events = Signal(list)
    caught_up = Signal(object)
    ended = Signal(object)

    def __init__(self, job: Job, *, start_worker: bool = False, grace_seconds: float = GRACE_SECONDS):
        super().__init__()
        self.job, self.was_over = job, False
        self._start_worker, self._grace = start_worker, grace_seconds
        self._commands: queue.SimpleQueue[tuple[str, dict[str, Any]]] = queue.SimpleQueue()
        self._wake = threading.Event()
        self._detached = self._end_now = False
        self._asked_to_end: float | None = None
        self._doesnt_obey = False
        self._cancelling = False
        self._last_sign = 0.0
        self._last_batch = 0.0
        self._said_farewell = False

    def send(self, command: str, **arguments: Any) -> None:
        """Hand a command to the worker; it obeys at its next step boundary.

        "stop" asks it to finish its step, save and end; "cancel" to end and keep nothing. One that shows no sign of
        work then is ended. One that learns knows "pause", "resume", "checkpoint", "sample", which asks the fixed
        prompts now, "change" of `learning_rate`, and of `max_steps` or `epochs`, and "free", which saves a checkpoint
        and ends the worker, so that its memory is free; the outcome is "paused". It answers with the events `paused`,
        `resumed`, `checkpoint_saved`, `sample` and `changed`.
        """
        self._commands.put((command, arguments))
        self._wake.set()

    def end_now(self) -> None:
        """End the worker's process tree without waiting for its answer."""
        self._end_now = True
        self._wake.set()

    def leave(self) -> None:
        """End this thread, not the worker."""
        self._detached = True
        self._wake.set()

    def work(self) -> None:
        with os_errors_as(tr("Could not follow the job.")):
            reader = self._catch_up()
            if self._start_worker:
                self._start()
            self._follow(reader)

    def _catch_up(self) -> files.LineReader:
        outcome = self.job.outcome()  # looked at before reading: what came before it is read below
        history, reader = RUNS.continued(self.job.folder, lambda: self._detached)
        if not self._start_worker:
            self.was_over = outcome is not None
            self._said_farewell = bool(history.told) and history.told[-1].get("type") == "job_ended"
        self.caught_up.emit(history)
        return reader

    def _start(self) -> None:
        try:
            self.job.start()
        except UserError as error:
            if not self.job.is_alive():
                raise
            self.failed.emit(error)

    def _follow(self, reader: files.LineReader) -> None:
        over_since = None
        while not self._detached:
            outcome = self.job.outcome()  # looked at before reading: what came before it is read below
            self._read(reader)
            if outcome is not None:
                over_since = over_since or time.monotonic()
                late = time.monotonic() - over_since > CLOSING_SECONDS
                if self._said_farewell or late or not self.job.is_alive():
                    self._read(reader)
                    self.ended.emit(outcome)
                    return
            elif self.job.is_gone():
                raise jobs.gone(self.job.folder)
            self._pass_commands_on()
            self._climb_ladder()
            self._wake.wait(jobs.POLL_SECONDS)
            self._wake.clear()
        self._pass_commands_on()

    def _read(self, reader: files.LineReader) -> None:
        batch: list[dict[str, Any]] = []
        for event in reader.read():
            self._notice(event)
            batch.append(event)
            if len(batch) == BATCH_LIMIT:
                self._emit(batch)
                batch = []
            if self._detached:
                return
        if batch:
            self._emit(batch)

    def _emit(self, batch: list[dict[str, Any]]) -> None:
        rest = self._last_batch + SECONDS_BETWEEN_BATCHES - time.monotonic()
        if rest > 0:
            time.sleep(rest)
        self._last_batch = time.monotonic()
        self.events.emit(batch)

    def _notice(self, event: dict[str, Any]) -> None:
        kind = event.get("type")
        now = time.monotonic()
        if kind == "step" and self._asked_to_end is not None and now - self._asked_to_end > self._grace:
            self._doesnt_obey = True
        # Sensors speak from a thread that outlives a hung step.
        if kind != "sensors" and not self._doesnt_obey:
            self._last_sign = now
        self._said_farewell = kind == "job_ended"

    def _pass_commands_on(self) -> None:
        """Append the commands; a worker that is still starting will read them."""
        while not self._commands.empty():
            command, arguments = self._commands.get()
            if command in ("stop", "cancel"):
                self._asked_to_end = self._asked_to_end or time.monotonic()
                self._cancelling = command == "cancel"
            try:
                self.job.send(command, **arguments)
            except UserError as error:
                self.failed.emit(error)

    def _climb_ladder(self) -> None:
        """Cooperative, grace, process tree: the last rung."""
        if self._asked_to_end is not None:
            silent_since = max(self._asked_to_end, self._last_sign)
            self._end_now = self._end_now or time.monotonic() - silent_since > self._grace
        if not self._end_now or not self.job.is_alive():
            return
        self._end_now = False
        self.job.end(self._cancelling)


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

    def __init__(self, parent: QObject | None, session: Session | None = None, view: str = ""):
        """
        Args:
            session: whose status bar tells about the job; None tells nobody.
            view: a name under which the session keeps the job, for the window that replaces this one; "" doesn't.
        """
        super().__init__(parent)
        self._session, self._view = session, view
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

    def before(self) -> tuple[Any, Job] | None:
        """The job that this view followed in the window that this one replaces, after what it knew about it."""
        return self._session.followed.get(self._view) if self._session is not None else None

    def follow(self, job: Job, *, start_worker: bool = False, about: Any = None) -> None:
        """Follow a job from its first event.

        Args:
            start_worker: start, or start again from where it was.
            about: what the view knows about it, for `before`.
        """
        self.detach()
        if self._session is not None and self._view:
            self._session.followed[self._view] = about, job
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
        if self._session is not None:
            self._session.followed.pop(self._view, None)
        self.show_status(None)
        return job


TRAINING, EXPORT, EVALUATION, DOCUMENTS = "training", "export", "evaluation", "documents"


def report_end(session: Session, kind: str, name: str, outcome: Outcome, *, job: Job | None = None,
               said: str = "") -> None:
    """Tell everybody how a run or another job ended. What the user ended isn't news.

    Args:
        kind: `TRAINING`, `EXPORT`, `EVALUATION` or `DOCUMENTS` (questions made of documents).
        name: of the run, or of the project.
        job: that several views may follow: its end is told once.
        said: what came of it, in a sentence.
    """
    if outcome.state in ("cancelled", "paused", "stopped") or (job is not None and job.folder in session.reported):
        return
    if job is not None:
        session.reported.add(job.folder)
    if outcome.was_successful():
        title = {TRAINING: tr("Training is finished"), EXPORT: tr("The export is finished"),
                 EVALUATION: tr("The evaluation is finished"), DOCUMENTS: tr("The questions are finished")}[kind]
        session.notify(title, tr("{name}: {what}", name=name, what=said) if said else name)
    elif outcome.result.get("consent"):
        session.notify(tr("Training needs your decision"),
                       tr("{name}: {what}", name=name, what=outcome.user_error().what), urgent=True)
    else:
        title = {TRAINING: tr("Training ended early"), EXPORT: tr("The export failed"),
                 EVALUATION: tr("The evaluation failed"), DOCUMENTS: tr("Making the questions failed")}[kind]
        session.notify(title, tr("{name}: {what}", name=name, what=outcome.user_error().what), urgent=True)
