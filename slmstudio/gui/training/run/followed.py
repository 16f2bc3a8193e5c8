"""The run that the Training tab shows: what it is, what has happened to it, what holds in it now, and what can be asked
of it."""

from __future__ import annotations

import contextlib
import queue
from dataclasses import replace
from typing import Any

from PySide6.QtCore import QObject, Signal, Slot

from slmstudio.core.errors import UserError
from slmstudio.core.i18n import number_text, tr
from slmstudio.core.jobs.job import Job
from slmstudio.core.jobs.outcome import Outcome
from slmstudio.core.run import adjust
from slmstudio.core.run.config import FIELDS, RunConfig
from slmstudio.core.run.energy.tariff import tariff
from slmstudio.core.run.guard import settings as guard_settings
from slmstudio.core.run.history import RunHistory
from slmstudio.gui.common.job_thread import JobThread
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.tasks import Task, run_task
from slmstudio.gui.training.run import status
from slmstudio.gui.training.run_queue import wait_until_gone


class FollowedRun(QObject):
    """Follows one run at a time, and tells the status bar of it.

    Attributes:
        job, config: the run, and its configuration when it began; None before there is one.
        history: everything that has happened to it.
        was_over: whether its end, of which `ended` tells, was there before it was followed.

    Signals:
        begun: another run is followed from now on.
        replayed: `history` is another object now; all that had happened before is folded up in it.
        moved: something happened, which is in `history`.
        renamed: `config` has another name.
        ended(Outcome): it is over.
        not_started(Outcome): its worker couldn't be started; `failed` said why.
        failed(Exception): it couldn't be read, started, commanded or followed.
    """

    begun = Signal()
    replayed = Signal()
    moved = Signal()
    renamed = Signal()
    ended = Signal(object)
    not_started = Signal(object)
    failed = Signal(object)

    def __init__(self, session: Session, parent: QObject | None = None):
        super().__init__(parent)
        self.job: Job | None = None
        self.config: RunConfig | None = None
        self.history = RunHistory()
        self.was_over = False
        self._session = session
        self._thread: TrainingThread | None = None
        self._caught_up = False
        session.run_changed.connect(self._look_for_name)

    def is_running(self) -> bool:
        """Whether a run is being followed that hasn't ended."""
        return self._thread is not None and self._thread.isRunning()

    def has_ended(self) -> bool:
        """Whether the run that is shown is over, and everybody was told so."""
        return self.job is not None and self._thread is None

    def follow(self, job: Job, *, start_worker: bool = False) -> None:
        """Show a run from its first event, and continue with it.

        Args:
            start_worker: start, or start again from its newest checkpoint.
        """
        self.detach()
        try:
            self.config = guard_settings.as_changed(
                RunConfig.from_dict(job.request()), adjust.load(job.folder)["values"])
        except UserError as error:
            self.failed.emit(error)
            return
        self.job, self.history, self._caught_up = job, RunHistory(), False
        self._thread = thread = TrainingThread(job, start_worker=start_worker)
        thread.events.connect(self._take)
        thread.caught_up.connect(self._catch_up)
        thread.ended.connect(self._ended)
        thread.failed.connect(self._failed)
        thread.start()
        self.begun.emit()
        self._tell()

    def detach(self) -> None:
        """Follow no more; the run continues."""
        if self._thread is not None:
            self._thread.leave_and_wait()
            self._thread = None
            self._session.set_job(None)

    def now(self) -> RunConfig:
        """The run's configuration, with what was changed since it began."""
        assert self.config is not None
        return as_it_is(self.config, self.history)

    def ask(self, command: str) -> None:
        """Hand a command to the worker; see `TrainingThread`."""
        if self._thread is not None:
            self._thread.send(command)

    def end_now(self) -> None:
        """End the worker without waiting for its answer."""
        if self._thread is not None:
            self._thread.end_now()

    def change(self, values: dict[str, float]) -> None:
        """Learn in another way from now on."""
        if self._thread is not None:
            self._thread.change(values)

    def resume(self, values: dict[str, Any] | None = None) -> None:
        """Continue a run that ended early.

        Args:
            values: values other than those planned, which the worker asked the user for.
        """
        if self.job is None:
            return
        ended = self.job

        def prepare(task: Task) -> Job:
            wait_until_gone(ended, task)
            if values:
                adjust.consent(ended.folder, values)
            return Job(ended.folder)

        def proceed(job: Job) -> None:
            self.follow(job, start_worker=True)
            self._session.start_run(job)

        run_task(self, prepare, proceed, self.failed.emit)

    @Slot(list)
    def _take(self, events: list[dict[str, Any]]) -> None:
        if self.sender() is not self._thread or not self._caught_up:
            return  # of another run, or folded up in the history that comes
        for event in events:
            self.history.add(event)
        self._tell()

    @Slot(object)
    def _catch_up(self, history: RunHistory) -> None:
        if self.sender() is self._thread:
            self.history, self._caught_up = history, True
            self.replayed.emit()
            self._tell()

    def _tell(self) -> None:
        if self.is_running():
            self._session.set_job(status.job_status(self.now(), self.history, tariff(self._session.settings)))
        self.moved.emit()

    @Slot(object)
    def _ended(self, outcome: Outcome) -> None:
        if self._thread is not None and self.sender() is self._thread:
            self.was_over, self._thread = self._thread.was_over, None
            self._session.set_job(None)
            self.ended.emit(outcome)

    @Slot(object)
    def _failed(self, error: Exception) -> None:
        if self.sender() is not self._thread or self.job is None:
            return
        self.failed.emit(error)
        if self.job.is_alive():
            return  # it runs already, and is followed
        self._thread = None
        self._session.set_job(None)
        self.not_started.emit(Outcome("failed", error.to_dict() if isinstance(error, UserError) else None))

    def _look_for_name(self) -> None:
        """The run may have been renamed in Results."""
        with contextlib.suppress(UserError, OSError):
            if self.job is not None and self.config is not None:
                name = RunConfig.from_dict(self.job.request()).name
                if name != self.config.name:
                    self.config = replace(self.config, name=name)
                    self.renamed.emit()
                    self._tell()


class TrainingThread(JobThread):
    """A job that learns can also be paused, asked for a checkpoint or for samples, and changed, between two steps.

    It knows "pause", "resume", "checkpoint", "sample", which asks the fixed prompts now, and "free", which saves a
    checkpoint and ends the worker, so that its memory is free; the outcome is "paused". The worker answers with the
    events `paused`, `resumed`, `checkpoint_saved`, `sample` and `changed`.
    """

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self._changes: queue.SimpleQueue[dict[str, float]] = queue.SimpleQueue()

    def change(self, values: dict[str, float]) -> None:
        """Decide `learning_rate`, and `max_steps` or `epochs`."""
        self._changes.put(values)
        self._wake.set()

    def _pass_commands_on(self) -> None:
        super()._pass_commands_on()
        while not self._changes.empty():
            try:
                self.job.send("change", **self._changes.get_nowait())
            except UserError as error:
                self.failed.emit(error)


def as_it_is(config: RunConfig, history: RunHistory) -> RunConfig:
    """The configuration with the run's adjustments and changes in it, and a reason for each."""
    values: dict[str, Any] = {}
    reasons = dict(config.reasons)

    def take(name: str, value: Any, reason: str) -> None:
        try:
            values[name] = FIELDS[name].read(value)
            reasons[name] = reason
        except (KeyError, ValueError):
            pass  # of a version that knows another field

    for name, value, event in history.later_values():
        take(name, value, _by_hand(event) if event.get("type") != "adjusted" else
             tr("Lowered automatically because memory ran out."))
        if name == "epochs":
            values["max_steps"] = None
    return replace(config, **values, reasons=reasons)


def _by_hand(event: dict[str, Any]) -> str:
    step = event.get("global_step")
    return tr("You changed this at step {step}.", step=number_text(step) if isinstance(step, int) else "?")
