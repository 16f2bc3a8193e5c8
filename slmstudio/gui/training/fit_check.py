"""Measures what a plan takes: a worker's job, with its progress above the Start button."""

from __future__ import annotations

from functools import partial
from typing import Any

from PySide6.QtCore import QObject
from PySide6.QtWidgets import QWidget

from slmstudio.core.errors import from_os_error
from slmstudio.core.i18n import tr
from slmstudio.core.jobs import new
from slmstudio.core.jobs.job import Job
from slmstudio.core.jobs.outcome import Outcome
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.energy.tariff import tariff
from slmstudio.gui.common.followed_job import FollowedJob
from slmstudio.gui.common.run_texts import phase_text
from slmstudio.gui.common.session import JobStatus, Session
from slmstudio.gui.common.tasks import is_busy, run_task
from slmstudio.gui.common.widgets.banner import clear_error, report_error
from slmstudio.gui.training.plan_panel import PlanPanel
from slmstudio.gui.training.planning import Planning


class FitCheck(QObject):
    """Shows what the plan takes, and measures it when the user wants that: one plan at a time.

    Attributes:
        config: what is being measured, while something is.
    """

    def __init__(self, session: Session, plan: PlanPanel, planning: Planning, parent: QWidget):
        super().__init__(parent)
        self._session, self._planning, self._line = session, planning, plan.fit
        self.config: RunConfig | None = None
        self.followed = FollowedJob(self, session, "fit_check")
        self.followed.moved.connect(self._show_progress)
        self.followed.ended.connect(self._ended)
        self.followed.lost.connect(self._clear)
        self.followed.failed.connect(partial(report_error, self))
        self._wanted = False
        self._free = True
        self._line.measure_wanted.connect(self._measure)
        self._line.cancel_wanted.connect(self.cancel)
        planning.planned.connect(self._plan_made)
        planning.refused.connect(self._refused)
        session.job_changed.connect(self._show)
        session.settings_changed.connect(self._show)
        if (before := self.followed.before()) is not None:
            self._follow(*before)

    def set_free(self, on: bool) -> None:
        """Whether the machine is free: while a run is in progress, nothing is measured beside it."""
        self._free = on
        if not on:
            self.cancel()
        self._show()

    def is_starting(self) -> bool:
        """Whether it will begin as soon as the plan is there, or is about to say what it found."""
        return self._wanted or is_busy(self)

    def cancel(self) -> None:
        """End it. Nothing is kept."""
        self._wanted = False
        if self.config is not None:
            self.followed.send("cancel")
            self._tell(tr("Cancelling"), 0, 0)

    def _show(self) -> None:
        free = self._free and (self._session.job is None or self.config is not None)
        self._line.show_outlook(self._planning.outlook, can_measure=free, tariff=tariff(self._session.settings))

    def _refused(self) -> None:
        self._wanted = False
        self._show()

    def _plan_made(self) -> None:
        self._show()
        if self._wanted:
            self._measure()

    def _measure(self) -> None:
        """Measure the plan; the coming one, when the user has just changed a field."""
        self._wanted = self._planning.is_busy()
        if not self._wanted and self.config is None and self._planning.config is not None:
            clear_error(self)
            self._start(self._planning.config)

    def _start(self, config: RunConfig) -> None:
        try:
            job = new.fit_check(config.to_dict())
        except OSError as error:
            report_error(self, from_os_error(error, tr("Could not start the fit check.")))
            return
        self._follow(config, job, start_worker=True)
        self._tell(phase_text("starting"), 0, 0)

    def _follow(self, config: RunConfig, job: Job, *, start_worker: bool = False) -> None:
        self.config = config
        self.followed.follow(job, start_worker=start_worker, about=config)
        self._line.begin()

    def _show_progress(self) -> None:
        history = self.followed.history
        phase = "resting" if history.guard.stands_still else history.phase
        self._tell(phase_text(phase), int(history.done), int(history.total))

    def _tell(self, text: str, done: int, total: int) -> None:
        if self.config is not None:
            self._line.set_progress(text, done, total)
            name = tr("Fit check of {name}", name=self.config.name)
            self.followed.show_status(JobStatus(name, done, total, text=text))

    def _ended(self, job: Job, outcome: Outcome) -> None:
        from slmstudio.core.run.memory import fit_badge

        self._clear()
        wanted = outcome.state == "cancelled"  # then it removes the rows
        run_task(self, lambda task: fit_badge.of_job(job, outcome), self._found,
                 lambda error: None if wanted else report_error(self, error))

    def _found(self, result: dict[str, Any]) -> None:
        """What it found is kept with the machine, and the plan is made with it."""
        self._planning.look_again()

    def _clear(self) -> None:
        self.config = None
        self._line.end()
