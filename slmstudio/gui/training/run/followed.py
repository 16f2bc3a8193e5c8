"""The run that the Training tab shows: what it is, what has happened to it, what holds in it now, and what can be asked
of it."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

from PySide6.QtCore import QObject, Signal

from slmstudio.core.errors import UserError
from slmstudio.core.i18n import number_text, tr
from slmstudio.core.jobs.job import Job
from slmstudio.core.run import adjust
from slmstudio.core.run import guard_summary as guard_settings
from slmstudio.core.run.config import FIELDS, RunConfig
from slmstudio.core.run.energy.tariff import tariff
from slmstudio.core.run.history import RunHistory
from slmstudio.gui.common.followed_job import FollowedJob
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.tasks import Task, run_task
from slmstudio.gui.training.run import status
from slmstudio.gui.training.run_queue import wait_until_gone


class FollowedRun(FollowedJob):
    """Follows one run at a time, and tells the status bar of it.

    Attributes:
        config: its configuration when it began; None before there is one.

    Signals:
        renamed: `config` has another name.
    """

    renamed = Signal()

    def __init__(self, session: Session, parent: QObject | None = None):
        super().__init__(parent, session)
        self.config: RunConfig | None = None
        session.run_changed.connect(self._look_for_name)
        for signal in (self.begun, self.moved, self.renamed):
            signal.connect(self._show_status)

    def follow(self, job: Job, *, start_worker: bool = False, about: Any = None) -> None:
        self.detach()
        try:
            self.config = guard_settings.as_changed(
                RunConfig.from_dict(job.request()), adjust.load(job.folder)["values"])
        except UserError as error:
            self.failed.emit(error)
            return
        super().follow(job, start_worker=start_worker)

    def now(self) -> RunConfig:
        """The run's configuration, with what was changed since it began."""
        assert self.config is not None
        return as_it_is(self.config, self.history)

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

    def _show_status(self) -> None:
        if self.is_running():
            self.show_status(status.job_status(self.now(), self.history, tariff(self._session.settings)))

    def _look_for_name(self) -> None:
        """The run may have been renamed in Results."""
        with contextlib.suppress(UserError, OSError):
            if self.job is not None and self.config is not None:
                name = RunConfig.from_dict(self.job.request()).name
                if name != self.config.name:
                    self.config = replace(self.config, name=name)
                    self.renamed.emit()


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
