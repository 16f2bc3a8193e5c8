"""Opens a finished run in Chat: at once as an adapter on its base, or by a GGUF file that is made first."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from PySide6.QtCore import Signal

from slmstudio.core import llama
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.jobs.job import Job
from slmstudio.core.jobs.outcome import Outcome
from slmstudio.core.run.config import RunConfig
from slmstudio.gui.common.followed_job import FollowedJob
from slmstudio.gui.common.run_texts import phase_text
from slmstudio.gui.common.session import JobStatus, Session
from slmstudio.gui.common.tasks import run_task
from slmstudio.gui.common.widgets.banner import report_error
from slmstudio.gui.common.widgets.progress import ProgressStrip


class RunOpening(ProgressStrip):
    """A line above the conversation, seen while a GGUF file is made.

    Signals:
        ready(list[Path]): what to open, the tuned model first.
    """

    ready = Signal(object)

    def __init__(self, session: Session):
        super().__init__(name="chat_export")
        self._session = session
        self.followed = FollowedJob(self, session, "chat_export")
        self.followed.moved.connect(self._show_progress)
        self.followed.ended.connect(self._ended)
        self.followed.lost.connect(self._stop_showing)
        self.followed.failed.connect(partial(report_error, self))
        self.wanted: Path | None = None  # what was requested last
        self._exporting: Path | None = None
        self._name = ""
        self.cancelled.connect(lambda: self.followed.send("cancel"))
        self.hide()
        if (before := self.followed.before()) is not None:
            (self._exporting, self._name), job = before
            self._follow(job, start_worker=False)

    def open(self, run: Path) -> None:
        """Find out what to open for a run; make a GGUF file first, if the user prefers one. Of several runs, the one
        requested last is opened."""
        if self._exporting is not None:
            report_error(self, UserError(
                tr("A GGUF file of {name} is still being created.", name=self._name), "",
                tr("Wait until it is done, or cancel it.")))
            return
        self.wanted = run
        export_first = self._session.settings.chat_with == "gguf" and llama.trouble() is None

        def found(name_and_models: tuple[str, list[Path]]) -> None:
            name, models = name_and_models
            if run != self.wanted or self._exporting is not None:
                return  # meanwhile another run was requested, or the same one again
            if export_first and models[0] == run:
                self._exporting, self._name = run, name
                run_task(self, lambda task: _export(run), self._follow, self._not_made)
            else:
                self.ready.emit(models)

        run_task(self, lambda task: (_name(run), _partners(run)), found)

    def _follow(self, job: Job, *, start_worker: bool = True) -> None:
        self.start(tr("Making a GGUF file to chat with"))
        self.show()
        self.followed.follow(job, start_worker=start_worker, about=(self._exporting, self._name))

    def _show_progress(self) -> None:
        history, text = self.followed.history, phase_text(self.followed.history.phase)
        self.set_progress(int(history.done), int(history.total), text)
        self.followed.show_status(JobStatus(tr("Exporting {name}", name=self._name),
                                            int(history.done), int(history.total), None, text))

    def _ended(self, job: Job, outcome: Outcome) -> None:
        run = self._exporting
        self._stop_showing()
        if outcome.state == "cancelled" or run is None:
            return
        if not outcome.was_successful():
            report_error(self, outcome.user_error())
            return
        self._session.report_runs_changed()
        run_task(self, lambda task: _partners(run), self.ready.emit)

    def _not_made(self, error: Exception) -> None:
        self._stop_showing()
        report_error(self, error)

    def _stop_showing(self) -> None:
        self._exporting = None
        self.end()


def _name(run: Path) -> str:
    return RunConfig.from_dict(Job(run).request()).name


def _partners(run: Path) -> list[Path]:
    from slmstudio.core.chat import partners

    return partners.of_run(run)


def _export(run: Path) -> Any:
    from slmstudio.core.chat import partners
    from slmstudio.core.jobs import new

    return new.export(run, [partners.EXPORT_TYPE])
