"""Documents become questions and answers: begin, follow the worker, and review what it makes while it works."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QWidget

from slmstudio.core.documents import reading, work
from slmstudio.core.documents.project import Project, Settings
from slmstudio.core.documents.teacher import Teacher
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.jobs.job import Job
from slmstudio.core.jobs.outcome import Outcome
from slmstudio.gui.common.followed_job import DOCUMENTS, FollowedJob, report_end
from slmstudio.gui.common.run_texts import work_text
from slmstudio.gui.common.session import JobStatus, Session
from slmstudio.gui.common.tasks import Task, TaskSlot
from slmstudio.gui.common.widgets.areas import TakesFiles
from slmstudio.gui.common.widgets.banner import clear_error, report_error
from slmstudio.gui.common.widgets.layouts import column_in, pages_of
from slmstudio.gui.documents import prepare
from slmstudio.gui.documents.prepare import Opened
from slmstudio.gui.documents.ready_card import ReadyCard
from slmstudio.gui.documents.review import ReviewView
from slmstudio.gui.documents.start import StartView


class DocumentsPage(TakesFiles, QWidget):
    """One project at a time: chosen or begun, made ready, made and reviewed.

    Signals:
        closed: back to the datasets.
        made(Path, Path): a dataset was written, and its test set; None if there is none.
    """

    closed = Signal()
    made = Signal(object, object)

    def __init__(self, session: Session):
        super().__init__()
        self._session = session
        self._project: Project | None = None
        self._trying = False
        self._opening, self._starting = TaskSlot(), TaskSlot()
        self._seconds_left: float | None = None
        self._state: dict[str, Any] = {}
        self.start, self.ready, self.review = StartView(), ReadyCard(), ReviewView(session)
        self.pages = pages_of(self.start, self.ready, self.review)
        column_in(self, self.pages)
        self.followed = FollowedJob(self, session, "documents")
        self._connect()
        if (before := self.followed.before()) is not None:
            self.followed.follow(before[1], about=before[0])

    def _connect(self) -> None:
        self.start.card.closed.connect(self.closed)
        self.start.card.wanted.connect(self._read)
        self.start.card.strip.cancelled.connect(self._stop_reading)
        self.start.projects.opened.connect(self.open_project)
        self.ready.back.connect(self.show_start)
        self.ready.wanted.connect(self._begin)
        self.ready.trial_wanted.connect(lambda: self._start_job(trial=True))
        self.ready.stop_wanted.connect(lambda: self.followed.send("cancel"))
        self.review.side.back.connect(self.show_start)
        self.review.made.connect(self.made)
        strip = self.review.side.work
        strip.pause_wanted.connect(self._pause_or_resume)
        strip.stop_wanted.connect(self._stop)
        strip.resume_wanted.connect(self._begin)
        self.followed.begun.connect(self._show_work)
        self.followed.moved.connect(self._take)
        self.followed.ended.connect(self._ended)
        self.followed.lost.connect(lambda job, error: self._show_work())
        self.followed.failed.connect(self._show_error)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if self.pages.currentWidget() is self.start:
            self.start.look()

    # -- what is open -----------------------------------------------------------------------------------------

    def choose_files(self) -> None:
        self.show_start()
        self.start.card.sources.choose_files()

    def take_files(self, files: list[Path]) -> None:
        self.show_start()
        self.start.card.sources.add(files)

    def show_start(self) -> None:
        self.review.save_state()  # what is written there goes to the disk
        self.pages.setCurrentWidget(self.start)
        self.start.look()

    def open_project(self, folder: Path) -> None:
        """Read a project off the UI thread, and show its questions, or what it would take to make them."""
        clear_error(self)

        machine = self._session.machine
        self._opening.run(self, lambda task: prepare.open_project(folder, machine), self._show_project)

    def _show_project(self, found: Opened) -> None:
        project = self._project = found.list.project
        if found.is_working:
            self._trying = found.is_trial
            if not self._follows(project):
                self.followed.follow(project.job, about=project.folder)
        working = self._follows(project) and not self._trying
        self.start.card.show_reading("")
        if not (found.list.pairs or project.finished or working):
            self.ready.show_project(project, project.documents(), found.cost, found.quality)
            self.pages.setCurrentWidget(self.ready)
            self._show_work()
            return
        self.review.open(found.list)
        if self._state:
            self.review.restore_state(self._state)
            self._state = {}
        self.pages.setCurrentWidget(self.review)
        self._show_work()

    # -- reading, and making questions ------------------------------------------------------------------------

    def _read(self, sources: list[Path], settings: Settings) -> None:
        """Make a project, and read its documents."""
        clear_error(self)
        self.start.card.show_reading(tr("Reading the documents"))

        def read(task: Task) -> Path:
            return reading.new_project(sources, settings, task.progress, task.cancelled).folder

        def done(folder: Path) -> None:
            self.start.card.sources.clear()
            self.open_project(folder)

        def failed(error: Exception) -> None:
            self.start.card.show_reading("")
            self._show_error(error)

        self._opening.run(self, read, done, failed, self.start.card.strip.set_progress)

    def _stop_reading(self) -> None:
        self._opening.cancel()
        self.start.card.show_reading("")

    def _begin(self) -> None:
        """Start the worker, or start it again for the passages that are left."""
        self._start_job(trial=False)

    def _start_job(self, trial: bool) -> None:
        project = self._project
        if project is None or self._follows(project):
            return
        if self.followed.is_running() and self.followed.job is not None:
            self._show_error(UserError(
                tr("A worker is busy with {name}.", name=self.followed.job.folder.name), "",
                tr("Wait until its questions are finished, or stop it in that project.")))
            return
        clear_error(self)
        self._seconds_left, self._trying = None, trial

        def make(_task: Task) -> Job:
            return work.job_for(project, [Teacher.from_dict(project.settings.teacher)] if trial else ())

        def follow(job: Job) -> None:
            self.followed.follow(job, start_worker=True, about=project.folder)
            if not trial:
                self.open_project(project.folder)

        self._starting.run(self, make, follow)

    def _show_error(self, error: Exception) -> None:
        report_error(self, error)

    def _follows(self, project: Project) -> bool:
        return self.followed.is_running() and self.followed.job is not None and (
            self.followed.job.folder == project.folder)

    def _pause_or_resume(self) -> None:
        self.review.side.work.pause.setEnabled(False)  # until the worker has done so
        self.followed.send("resume" if self.followed.history.paused else "pause")

    def _stop(self) -> None:
        self.review.side.work.stop.setEnabled(False)
        self.followed.send("stop")

    def _take(self, events: list[dict[str, Any]]) -> None:
        for event in events:
            if event.get("type") == "documents_progress":
                self._seconds_left = event.get("seconds_left")
        self._show_work()

    def _show_work(self) -> None:
        """Show how far it is, and what was made since."""
        project, history = self._project, self.followed.history
        if project is None:
            return
        words = work_text(history, history.detail)
        if self.pages.currentWidget() is self.ready:
            self.ready.show_trial(self._follows(project), words)
            return
        if self.review.project is not project:
            return
        working = self._follows(project)
        self.review.refresh(working)
        done, total = len(project.finished), len(project.passages())
        self.review.side.work.show_work(done, total, working=working, paused=working and history.paused,
                                        seconds_left=self._seconds_left, words="" if done else words)
        if working:
            self.followed.show_status(JobStatus(tr("Questions from {name}", name=project.name), done, total,
                                                self._seconds_left, text=tr("paused") if history.paused else ""))

    def _ended(self, job: Job, outcome: Outcome) -> None:
        self._show_work()
        trying, self._trying = self._trying, False
        if self.followed.was_over:
            return
        if outcome.state in ("failed", "crashed"):
            self._show_error(outcome.user_error())
        elif trying and self._project is not None and self.pages.currentWidget() is self.ready:
            self.open_project(self._project.folder)
        if not trying:
            report_end(self._session, DOCUMENTS, job.folder.name, outcome, job=job)

    # -- another window in this one's place -------------------------------------------------------------------

    def save_state(self) -> dict[str, Any]:
        """What `restore_state` of another page shows again."""
        card = self.start.card
        teacher = card.teacher.current()
        project = self._project if self.pages.currentWidget() is not self.start else None
        return {"project": project.folder if project is not None else None,
                "review": self.review.save_state(), "sources": list(card.sources.paths),
                "teacher": teacher.place if teacher is not None else ""}

    def restore_state(self, state: dict[str, Any]) -> None:
        self.start.card.sources.add(state["sources"])
        self.start.card.teacher.choose(state["teacher"])
        if state["project"] is not None:
            self._state = state["review"]
            self.open_project(state["project"])
