"""A running evaluation: its progress with the time left, Pause, Resume and Cancel."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFrame

from slmstudio.core import units
from slmstudio.core.i18n import tr
from slmstudio.core.jobs.job import Job
from slmstudio.core.jobs.outcome import Outcome
from slmstudio.gui.common import theme
from slmstudio.gui.common.followed_job import EVALUATION, FollowedJob, tell_end
from slmstudio.gui.common.run_texts import work_text
from slmstudio.gui.common.session import JobStatus, Session
from slmstudio.gui.common.widgets.banner import ErrorBanner
from slmstudio.gui.common.widgets.buttons import SecondaryButton
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.layouts import column_in
from slmstudio.gui.common.widgets.progress import ProgressStrip

WARNINGS = 3
"""This many of the newest warnings are shown."""


class EvaluationRun(QFrame):
    """Follows one job, started here or found running.

    Attributes:
        name: of the run that is evaluated.

    Signals:
        ended(Job): it is over, successfully or not; see its folder.
    """

    ended = Signal(object)

    def __init__(self, session: Session):
        super().__init__()
        self.setProperty("inset", True)
        self._session, self.name = session, ""
        self.followed = FollowedJob(self, session, "evaluation")
        self.followed.moved.connect(self._show_progress)
        self.followed.ended.connect(self._ended)
        self.followed.lost.connect(self._over)
        self.followed.failed.connect(self._failed)
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
        self.strip.set_progress(int(history.done), int(history.total), self._progress_text())
        said = [str(event.get("message")) for event in history.told if event.get("type") == "warning"]
        self.warnings.setText("\n".join(dict.fromkeys(said[-WARNINGS:])))
        self._show_state()
        self.followed.show_status(JobStatus(tr("Evaluating {name}", name=self.name), int(history.done),
                                            int(history.total), history.phase_seconds_left))

    def _progress_text(self) -> str:
        """As in "37 of 200 answers · 4 min left"; the time left is known once a few are there."""
        history, left = self.followed.history, self.followed.history.phase_seconds_left
        if history.total <= 0:
            return ""
        done, total = int(history.done), int(history.total)
        if left is None or history.paused:
            return tr("{done:,} of {total:,}", done=done, total=total)
        return tr("{done:,} of {total:,} · {time} left", done=done, total=total, time=units.format_about(left))

    def _show_state(self) -> None:
        running, history = self.is_running(), self.followed.history
        self.strip.setVisible(running)
        self.pause.setVisible(running and (history.total > 0 or history.paused))
        self.pause.setText(tr("Resume") if history.paused else tr("Pause"))
        self.warnings.setVisible(running and bool(self.warnings.text()))
        self.setVisible(running or self.banner.error is not None)

    def _ended(self, job: Job, outcome: Outcome) -> None:
        tell_end(self._session, EVALUATION, self.name, outcome)
        if not outcome.was_successful() and outcome.state not in ("cancelled", "paused"):
            self.banner.show_error(outcome.user_error())
        self._over(job)

    def _over(self, job: Job) -> None:
        self._show_state()
        self.ended.emit(job)

    def _failed(self, error: Exception) -> None:
        self.banner.show_error(error)
        self._show_state()
