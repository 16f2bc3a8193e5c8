"""An evaluation at work: its progress with the time left, Pause, Resume and Cancel."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QFrame, QHBoxLayout, QVBoxLayout, QWidget

from slmstudio.core import units
from slmstudio.core.jobs.job import Job, Outcome
from slmstudio.core.run.history import RunHistory
from slmstudio.gui.common import theme
from slmstudio.gui.common.job_thread import JobThread
from slmstudio.gui.common.notices import EVALUATION, tell_end
from slmstudio.gui.common.run_texts import phase_text
from slmstudio.gui.common.session import JobStatus, Session
from slmstudio.gui.common.widgets.banner import ErrorBanner
from slmstudio.gui.common.widgets.buttons import SecondaryButton
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.progress import ProgressStrip

WARNINGS = 3
"""So many of the newest warnings are shown."""


class EvaluationRun(QFrame):
    """Follows one job, started here or found at work.

    Signals:
        ended(Job): it is over, well or not; its folder tells.
    """

    ended = Signal(object)

    def __init__(self, session: Session, parent: QWidget | None = None):
        super().__init__(parent)
        self.setProperty("inset", True)
        self._session = session
        self._name = ""
        self._thread: JobThread | None = None
        self._history = RunHistory()
        self._left: float | None = None
        self.banner = ErrorBanner()
        self.banner.setObjectName("evaluation_banner")
        self.strip = ProgressStrip()
        self.strip.setObjectName("evaluation_progress")
        self.strip.cancel.setObjectName("evaluation_cancel")
        self.strip.cancel.setToolTip(self.tr(
            "End the evaluation. What was answered is kept, so that it can be resumed later."))
        self.strip.cancelled.connect(self.cancel)
        self.pause = SecondaryButton(self.tr("Pause"), self.tr("Pause after the answers being written; "
                                                               "Resume continues."), "small")
        self.pause.setObjectName("evaluation_pause")
        self.pause.clicked.connect(self._pause_or_resume)
        line = self.strip.layout()
        if isinstance(line, QHBoxLayout):
            line.insertWidget(line.indexOf(self.strip.cancel), self.pause)
        self.warnings = text_label("", "small", wrap=True)
        self.warnings.setObjectName("evaluation_warnings")
        column = QVBoxLayout(self)
        column.setContentsMargins(*[theme.SPACE_M] * 4)
        column.setSpacing(theme.SPACE_S)
        column.addWidget(self.banner)
        column.addWidget(self.strip)
        column.addWidget(self.warnings)
        self._show_state()

    @property
    def job(self) -> Job | None:
        """The job that is followed."""
        return self._thread.job if self._thread is not None else None

    @property
    def name(self) -> str:
        """Of the run that is evaluated."""
        return self._name

    def is_running(self) -> bool:
        return self._thread is not None

    def follow(self, name: str, job: Job, *, start_worker: bool = False) -> None:
        """Follow a job of the run `name`."""
        if self.is_running():
            return
        self._name, self._history, self._left = name, RunHistory(), None
        self.banner.clear()
        self.strip.start(self.tr("Starting the worker"))
        self._thread = thread = JobThread(job, start_worker=start_worker)
        thread.events.connect(self._take)
        thread.ended.connect(self._ended)
        thread.failed.connect(self._failed)
        thread.start()
        self._show_state()

    def cancel(self) -> None:
        """End it; the answers so far are kept."""
        if self._thread is not None:
            self.strip.start(self.tr("Cancelling …"))
            self.pause.setEnabled(False)
            self._thread.cancel()

    def _pause_or_resume(self) -> None:
        if self._thread is not None:
            self.pause.setEnabled(False)  # until the worker has done so
            self._thread.send("resume" if self._history.paused else "pause")

    @Slot(list)
    def _take(self, events: list[dict[str, Any]]) -> None:
        history = self._history
        paused = history.paused
        for event in events:
            history.add(event)
            self._notice(event)
        if history.paused != paused:
            self.pause.setEnabled(True)
        text = self.tr("Paused") if history.paused else f"{phase_text(history.phase)} {history.detail}".strip()
        self.strip.label.setText(text)
        self.strip.set_progress(int(history.done), int(history.total), self._progress_text())
        said = [str(event.get("message")) for event in history.told if event.get("type") == "warning"]
        self.warnings.setText("\n".join(dict.fromkeys(said[-WARNINGS:])))
        self._show_state()
        if self._session.job is None or self._is_mine(self._session.job):
            self._session.set_job(JobStatus(self._status_name(), int(history.done), int(history.total),
                                            self._left))

    def _notice(self, event: dict[str, Any]) -> None:
        """The worker says how long it will take; what it said before a pause or another start is past."""
        kind, left = event.get("type"), event.get("seconds_left")
        if kind == "progress":
            self._left = float(left) if isinstance(left, int | float) else None
        elif kind in ("job_started", "paused", "resumed", "phase"):
            self._left = None

    def _progress_text(self) -> str:
        """As in "37 of 200 answers · 4 min left"; the time left is known once a few are there."""
        history, left = self._history, self._left
        if history.total <= 0:
            return ""
        text = self.tr("{done} of {total}").format(done=f"{int(history.done):,}", total=f"{int(history.total):,}")
        if left is None or history.paused:
            return text
        return self.tr("{done} · {time} left").format(done=text, time=units.format_about(left))

    def _show_state(self) -> None:
        running, history = self.is_running(), self._history
        self.strip.setVisible(running)
        self.pause.setVisible(running and (history.total > 0 or history.paused))
        self.pause.setText(self.tr("Resume") if history.paused else self.tr("Pause"))
        self.warnings.setVisible(running and bool(self.warnings.text()))
        self.setVisible(running or self.banner.error is not None)

    def _status_name(self) -> str:
        return self.tr("Evaluating {name}").format(name=self._name)

    def _is_mine(self, status: JobStatus) -> bool:
        return status.name == self._status_name()

    @Slot(object)
    def _ended(self, outcome: Outcome) -> None:
        job = self.job
        tell_end(self._session, EVALUATION, self._name, outcome)
        self._stop_showing()
        if not outcome.was_successful() and outcome.state not in ("cancelled", "paused"):
            self.banner.show_error(outcome.user_error())
            self._show_state()
        self.ended.emit(job)

    @Slot(object)
    def _failed(self, error: Exception) -> None:
        self.banner.show_error(error)
        job = self.job
        if job is not None and not job.is_alive():
            self._stop_showing()
            self.ended.emit(job)
        self._show_state()

    def _stop_showing(self) -> None:
        if self._session.job is not None and self._is_mine(self._session.job):
            self._session.set_job(None)
        self._thread = None
        self._show_state()
