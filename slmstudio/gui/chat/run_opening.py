"""Opens a finished run in Chat: at once as an adapter on its base, or by a GGUF file that is made first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from slmstudio.core.jobs.job import Outcome
from slmstudio.core.run.history import RunHistory
from slmstudio.gui.common.job_thread import JobThread
from slmstudio.gui.common.run_texts import phase_text
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.tasks import run_task
from slmstudio.gui.common.widgets.progress import ProgressStrip


class RunOpening(ProgressStrip):
    """A line above the conversation, seen while a GGUF file is made.

    Signals:
        ready(list[Path]): what to open, the tuned model first.
        failed(Exception): the run can't be talked to, and why.
    """

    ready = Signal(object)
    failed = Signal(object)

    def __init__(self, session: Session, parent: QWidget | None = None):
        super().__init__(parent)
        self.setObjectName("chat_export")
        self._session = session
        self._thread: JobThread | None = None
        self._run: Path | None = None
        self._history = RunHistory()
        self.cancelled.connect(self._cancel)
        self.hide()

    def open(self, run: Path) -> None:
        """Find out what to open for a run; make a GGUF file before, where the person would rather have one."""
        if self._thread is not None:
            return
        self._run = run
        export_first = self._session.settings.chat_with == "gguf"

        def found(models: list[Path]) -> None:
            if export_first and models[0] == run:
                run_task(self, lambda task: _export(run), self._follow, self.failed.emit)
            else:
                self.ready.emit(models)

        run_task(self, lambda task: _partners(run), found, self.failed.emit)

    def _follow(self, job: Any) -> None:
        self._history = RunHistory()
        self.start(self.tr("Making a GGUF file to chat with"))
        self.show()
        self._thread = thread = JobThread(job, self, start_worker=True)
        thread.events.connect(self._take)
        thread.ended.connect(self._ended)
        thread.failed.connect(self._lost)
        thread.start()

    def _take(self, events: list[dict[str, Any]]) -> None:
        for event in events:
            self._history.add(event)
        self.set_progress(int(self._history.done), int(self._history.total), phase_text(self._history.phase))

    def _cancel(self) -> None:
        if self._thread is not None:
            self._thread.cancel()

    def _ended(self, outcome: Outcome) -> None:
        self._thread = None
        self.end()
        run = self._run
        if outcome.state == "cancelled" or run is None:
            return
        if not outcome.was_successful():
            self.failed.emit(outcome.user_error())
            return
        self._session.run_changed.emit()
        run_task(self, lambda task: _partners(run), self.ready.emit, self.failed.emit)

    def _lost(self, error: Exception) -> None:
        self._thread = None
        self.end()
        self.failed.emit(error)


def _partners(run: Path) -> list[Path]:
    from slmstudio.core.chat import partners

    return partners.of_run(run)


def _export(run: Path) -> Any:
    from slmstudio.core.chat import partners
    from slmstudio.core.jobs import new

    return new.export(run, [partners.EXPORT_TYPE])
