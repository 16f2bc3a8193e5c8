"""An evaluation at work: how far it is, with Pause and Cancel, or why it failed."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFrame

from slmstudio.core.files import an_object
from slmstudio.core.i18n import tr
from slmstudio.core.jobs.job import Job
from slmstudio.core.jobs.outcome import Outcome
from slmstudio.gui.common import theme
from slmstudio.gui.common.followed_job import EVALUATION, FollowedJob, report_end
from slmstudio.gui.common.run_texts import work_text
from slmstudio.gui.common.session import JobStatus, Session
from slmstudio.gui.common.tasks import run_task
from slmstudio.gui.common.widgets.banner import ErrorBanner
from slmstudio.gui.common.widgets.buttons import SecondaryButton
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.layouts import column_in
from slmstudio.gui.common.widgets.progress import ProgressStrip
from slmstudio.gui.evaluation.answer_view import read_found
from slmstudio.gui.evaluation.at_end import progress_text
from slmstudio.gui.evaluation.jobs import read_evaluation

WARNINGS = 3
"""This many of the newest warnings are shown."""


class EvaluationRun(QFrame):
    """Follows one job, started here or found running.

    Attributes:
        name: of the run, or of the rows, that the evaluation is about.

    Signals:
        ended(Job): it is over, successfully or not; see its folder.
    """

    ended = Signal(object)

    def __init__(self, session: Session, view: str = "evaluation"):
        """
        Args:
            view: as of `FollowedJob`.
        """
        super().__init__()
        self.setProperty("inset", True)
        self._session, self.name = session, ""
        self.followed = FollowedJob(self, session, view)
        self.followed.moved.connect(self._show_progress)
        self.followed.ended.connect(self._ended)
        self.followed.lost.connect(self._over)
        self.followed.failed.connect(self.show_error)
        self._paused = False
        self.banner = ErrorBanner(name="evaluation_banner")
        self.strip = ProgressStrip(name="evaluation_progress",
                                   tip=tr("Stop the evaluation. Finished answers are kept, so that you can continue "
                                          "later."), cancelled=self.cancel, lines=2)
        self.strip.cancel.setObjectName("evaluation_cancel")
        self.pause = SecondaryButton(tr("Pause"), tr("Pause after the current answers. Resume continues."), "small",
                                     name="evaluation_pause", clicked=self._pause_or_resume)
        self.strip.row.insertWidget(self.strip.row.indexOf(self.strip.cancel), self.pause)
        self.warnings = text_label("", "small", wrap=True, name="evaluation_warnings")
        column_in(self, self.banner, self.strip, self.warnings, margins=theme.SPACE_M)
        self._show_state()
        if (before := self.followed.before()) is not None:
            self.follow(*before)

    def is_running(self) -> bool:
        return self.followed.is_running()

    def follow(self, name: str, job: Job, *, start_worker: bool = False) -> None:
        """Follow a job of the run `name`."""
        if self.is_running():
            return
        self.name = name
        self.banner.clear()
        self.strip.start(tr("Starting the worker"))
        self.followed.follow(job, start_worker=start_worker, about=name)
        self._paused = False
        self._show_state()

    def cancel(self) -> None:
        """End it; the answers so far are kept."""
        if self.is_running():
            self.strip.start(tr("Cancelling…"))
            self.pause.setEnabled(False)
            self.followed.send("cancel")

    def _pause_or_resume(self) -> None:
        self.pause.setEnabled(False)  # until the worker has done so
        self.followed.send("resume" if self.followed.history.paused else "pause")

    def _show_progress(self) -> None:
        history = self.followed.history
        if history.paused != self._paused:
            self._paused = history.paused
            self.pause.setEnabled(True)
        self.strip.label.setText(tr("Paused") if history.paused else work_text(history, history.detail))
        self.strip.set_progress(int(history.done), int(history.total),
                                progress_text(self.followed) if history.total > 0 else "")
        said = [str(event.get("message")) for event in history.told if event.get("type") == "warning"]
        self.warnings.setText("\n".join(dict.fromkeys(said[-WARNINGS:])))
        self._show_state()
        self.followed.show_status(JobStatus(tr("Evaluating {name}", name=self.name), int(history.done),
                                            int(history.total), history.phase_seconds_left))

    def _show_state(self) -> None:
        running, history = self.is_running(), self.followed.history
        self.strip.setVisible(running)
        self.pause.setVisible(running and (history.total > 0 or history.paused))
        self.pause.setText(tr("Resume") if history.paused else tr("Pause"))
        self.warnings.setVisible(running and bool(self.warnings.text()))
        self.setVisible(running or self.banner.error is not None)

    def _ended(self, job: Job, outcome: Outcome) -> None:
        if not outcome.was_successful() and outcome.state not in ("cancelled", "paused"):
            self.banner.show_error(outcome.user_error())
            report_end(self._session, EVALUATION, self.name, outcome, job=job)
        elif outcome.was_successful():
            run_task(self, lambda task: _headline(job),
                     lambda said: report_end(self._session, EVALUATION, self.name, outcome, job=job, said=said))
        self._over(job)

    def _over(self, job: Job) -> None:
        self._show_state()
        self.ended.emit(job)

    def show_error(self, error: Exception) -> None:
        """Say why it couldn't be done."""
        self.banner.show_error(error)
        self._show_state()


def _headline(job: Job) -> str:
    """What came of the run, by an evaluation that has ended; or of what was tried without one."""
    evaluation, run = read_evaluation(job.folder), job.request().get("train_run")
    advice = read_found(Path(run), evaluation).advice if run and evaluation else None
    rivals = an_object(((evaluation.scores if evaluation else None) or {}).get("rivals"))
    return advice.headline if advice else str(rivals.get("sentence") or "")
