"""Training: the plan on the left, the run in the middle, its answers and what happened on the right."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from functools import partial
from typing import Any

from PySide6.QtCore import Slot
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QVBoxLayout, QWidget

from slmstudio.core.errors import UserError
from slmstudio.core.jobs.job import Job, Outcome
from slmstudio.core.run import adjust
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.energy.tariff import tariff
from slmstudio.core.run.guard import settings as guard_settings
from slmstudio.core.run.history import RunHistory
from slmstudio.core.run.schedule import total_steps
from slmstudio.gui.common import theme
from slmstudio.gui.common.notices import TRAINING, tell_end
from slmstudio.gui.common.run_texts import promise
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.tasks import Task, run_task
from slmstudio.gui.common.widgets.banner import ErrorBanner
from slmstudio.gui.training import close_question, run_status
from slmstudio.gui.training.after_run import NextRun
from slmstudio.gui.training.fit_check import FitCheck
from slmstudio.gui.training.pages import TrainingPages
from slmstudio.gui.training.plan_panel import PlanPanel
from slmstudio.gui.training.planning import Planning
from slmstudio.gui.training.run_changes import as_it_is
from slmstudio.gui.training.run_feed import RunFeed
from slmstudio.gui.training.run_panel import RunPanel
from slmstudio.gui.training.run_queue import QueueCard, wait_until_gone
from slmstudio.gui.training.training_thread import TrainingThread
from slmstudio.gui.training.watch_panel import WatchPanel


class TrainingTab(QWidget):
    """Plans a run, starts it, follows it, and shows how it ended."""

    def __init__(self, session: Session, parent: QWidget | None = None):
        super().__init__(parent)
        self._session = session
        self._job: Job | None = None
        self._thread: TrainingThread | None = None
        self._history = RunHistory()
        self._run_config: RunConfig | None = None
        self._caught_up = self._planning_next = False
        self.banner = ErrorBanner()
        self.banner.setObjectName("training_banner")
        self.plan, self.run, self.watch, self.feed = PlanPanel(), RunPanel(), WatchPanel(), RunFeed()
        self.planning = Planning(session, self.plan, self)
        self.next = NextRun(session, self.plan, self.planning, self)
        self.fit_check = FitCheck(session, self.plan, self.planning, self)
        self.queue_card = QueueCard(self.next.queue)
        self._pages = TrainingPages(session, [self.plan, self.queue_card], self.run, [self.watch, self.feed])
        column = QVBoxLayout(self)
        column.setContentsMargins(*[theme.PAGE_MARGIN] * 4)
        column.setSpacing(theme.CARD_GAP)
        column.addWidget(self.banner)
        column.addWidget(self._pages, 1)
        self._connect()
        self._show_choice()
        if session.run is not None:
            self.follow(session.run)

    def _connect(self) -> None:
        session, end, coming = self._session, self.run.end_row, self.next
        session.dataset_changed.connect(self._show_choice)
        session.model_changed.connect(self._show_choice)
        session.reading_changed.connect(lambda: self.plan.set_reading(session.reading))
        session.run_started.connect(self._run_started)
        session.run_changed.connect(self._look_for_name)
        session.continue_wanted.connect(coming.go_on_from)
        session.again_wanted.connect(coming.plan_again)
        self.planning.planned.connect(self._show_choice)
        self.planning.planned.connect(lambda: session.set_plan(self.planning.config))
        self.planning.failed.connect(self.banner.show_error)
        self._connect_run()
        for signal, slot in (
                (end.resume_run, self._resume_run), (end.consent, self._resume_run), (end.chat_wanted, self._open_chat),
                (end.export_wanted, self._to_results), (end.more_data, self._go_on_with_more),
                (coming.made, self._start_made), (coming.turn, self._turn_has_come), (coming.begun, self.banner.clear),
                (self.fit_check.begun, self.banner.clear), (self.fit_check.failed, self.banner.show_error),
                (coming.failed, self._not_done), (coming.planning_on, self._plan_goes_on),
                (coming.queue.changed, self._show_choice), (self.plan.buttons.other_wanted, self._plan_other),
                (self.plan.buttons.afresh_wanted, self._plan_afresh), (self.plan.buttons.code_wanted, self._save_code),
                (self.queue_card.start_wanted, coming.queue.start_next)):
            signal.connect(slot)

    def _connect_run(self) -> None:
        controls = self.run.controls
        for signal, name in ((controls.pause, "pause"), (controls.resume, "resume"), (controls.free, "free"),
                             (controls.checkpoint, "checkpoint"), (controls.stop, "stop"),
                             (controls.end_now, "end_now"), (self.watch.sample_wanted, "sample")):
            signal.connect(partial(self._command, name))
        self.run.change_wanted.connect(lambda: self.run.open_change(self._now()))
        self.run.change.apply_wanted.connect(lambda values: self._thread and self._thread.change(values))
        self.run.guard_wanted.connect(lambda: self.run.guard.toggle_editor(self._now()))
        self.run.guard.wanted.connect(self._ask_guard)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.next.queue.refresh()

    # -- what is chosen --------------------------------------------------------------------------------------

    def _show_choice(self) -> None:
        """Show the page that fits: what to choose first, what Start would do, or the run."""
        ready = self._pages.show_choice(self._job is not None)
        running, buttons = self.is_running(), self.plan.buttons
        self.queue_card.set_running(running)
        self.fit_check.set_free(not running)
        self._planning_next = self._planning_next and running and ready
        if running and not self._planning_next:
            self.plan.set_editable(False)
            self.plan.show_config(self._now())
            buttons.show_run(self.tr("The plan of the run beside it. Change… changes it while it learns."),
                             can_plan=ready)
            return
        self.plan.set_editable(ready)
        if ready:
            self.planning.refresh()
            buttons.show_plan(running=running, going_on=self._going_on())
        else:
            buttons.show_run(self.tr("Choose data and a base model to plan another run."), can_plan=False)
        if self._job is None:
            self.run.show_waiting(self.tr("Ready to train") if self.planning.config else self.tr("Planning"),
                                  self._promise())

    def _promise(self) -> str:
        config, rows = self.planning.config, self.planning.train_rows
        if config is None or rows is None:
            return self.tr("Measuring the rows with the model's tokenizer …")
        return promise(config, rows, total_steps(config, rows))

    def _plan_other(self) -> None:
        """Show the plan of the next run instead of this one's, or go back."""
        self._planning_next = self.is_running() and not self._planning_next
        self._show_choice()

    def _plan_afresh(self) -> None:
        self.planning.go_on_from(None)
        self._show_choice()

    def _going_on(self) -> str:
        return self.planning.after.name if self.planning.after is not None else ""

    def _plan_goes_on(self) -> None:
        self.run.end_row.set_busy(False)
        self._show_choice()

    def _go_on_with_more(self) -> None:
        if self._job is not None:
            self.run.end_row.set_busy(True)
            self.next.go_on_from(self._job.folder)

    def _save_code(self) -> None:
        of_run = self._job is not None and not self.plan.editable
        self.next.save_code(self._job.folder if of_run and self._job is not None else None)

    # -- a run -----------------------------------------------------------------------------------------------

    def is_running(self) -> bool:
        """Whether a run is being followed that has not ended."""
        return self._thread is not None and self._thread.isRunning()

    def _start_made(self, job: Job) -> None:
        if not self.is_running():
            self.follow(job, start_worker=True)
            self._session.start_run(job)

    def _turn_has_come(self, job: Job) -> None:
        if not self.is_running():
            self._session.start_run(job)  # which is followed then

    def _not_done(self, error: Exception) -> None:
        self.run.end_row.set_busy(False)
        self.banner.show_error(error)

    @Slot(object)
    def _run_started(self, job: Job) -> None:
        """A run was started elsewhere, as from Results or by Resume there."""
        if self._job is None or job.folder != self._job.folder or not self.is_running():
            self.follow(job)

    def follow(self, job: Job, *, start_worker: bool = False) -> None:
        """Show a run from its first event, and go on with it.

        Args:
            start_worker: start, or start again from its newest checkpoint.
        """
        self.detach()
        try:
            self._run_config = guard_settings.as_changed(
                RunConfig.from_dict(job.request()), adjust.load(job.folder)["values"])
        except UserError as error:
            self.banner.show_error(error)
            return
        self._job, self._history, self._caught_up = job, RunHistory(), False
        self._planning_next = False
        self.run.end_row.set_busy(False)
        self.feed.clear()
        self.run.begin(run_status.title(self._run_config), self._history, self._run_config)
        self._thread = thread = TrainingThread(job, start_worker=start_worker)
        thread.events.connect(self._take)
        thread.caught_up.connect(self._catch_up)
        thread.ended.connect(self._ended)
        thread.failed.connect(self._failed)
        thread.start()
        self._show_choice()
        self._show_news()

    def detach(self) -> None:
        """Follow no more; the run goes on."""
        if self._thread is not None:
            self._thread.leave_and_wait()
            self._thread = None
            self._session.set_job(None)

    def _now(self) -> RunConfig:
        """The run's configuration, with what was changed since it began."""
        assert self._run_config is not None
        return as_it_is(self._run_config, self._history)

    @Slot(list)
    def _take(self, events: list[dict[str, Any]]) -> None:
        if self.sender() is not self._thread or not self._caught_up:
            return  # of another run, or folded up in the history that comes
        for event in events:
            self._history.add(event)
        self._show_news()

    @Slot(object)
    def _catch_up(self, history: RunHistory) -> None:
        if self.sender() is self._thread:
            self._history, self._caught_up = history, True
            self.run.show_history(history, self._run_config)
            self._show_news()

    def _show_news(self) -> None:
        history = self._history
        self.run.update_from(history)
        self.run.set_note(run_status.gpu_note(history, self._session))
        self.feed.update_from(history)
        if self._run_config is not None:
            self.watch.update_from(history, self._run_config, self.is_running())
            if self.is_running():
                now = self._now()
                self._session.set_job(run_status.job_status(now, history, tariff(self._session.settings)))
                if not self.plan.editable and self.plan.config != now:
                    self.plan.show_config(now)

    @Slot(object)
    def _ended(self, outcome: Outcome) -> None:
        if self.sender() is not self._thread or self._job is None or self._run_config is None:
            return
        self._thread = None
        self.run.end(outcome, self._history, run_status.is_resumable(outcome, self._history))
        self._session.set_job(None)
        if outcome.was_successful():
            self._session.mark_done("training")
        self.planning.look_again()
        self._session.run_changed.emit()
        self._show_news()
        self._show_choice()
        tell_end(self._session, TRAINING, self._run_config.name, outcome)
        self.next.after_end(self._job, self._run_config.name, outcome)

    @Slot(object)
    def _failed(self, error: Exception) -> None:
        if self.sender() is not self._thread or self._job is None:
            return
        self.banner.show_error(error)
        if self._job.is_alive():
            return  # it runs already, and is followed
        self._thread = None
        outcome = Outcome("failed", error.to_dict() if isinstance(error, UserError) else None)
        self.run.end(outcome, self._history, resumable=self._job.folder.exists())
        self.run.banner.clear()
        self._session.set_job(None)
        self._show_choice()

    def _command(self, name: str) -> None:
        if self._thread is not None:
            getattr(self._thread, name)()

    def _ask_guard(self, values: dict[str, Any]) -> None:
        """Let the run look after the machine in another way from now on."""
        job, editor = self._job, self.run.guard.editor

        def refused(error: Exception) -> None:
            if isinstance(error, UserError) and not editor.isHidden():
                editor.refused(error)
            else:
                self.banner.show_error(error)

        if job is not None:
            run_task(self, lambda task: guard_settings.ask(job, values), lambda _: editor.hide(), refused)

    def _resume_run(self, values: dict[str, Any] | None = None) -> None:
        """Go on with the run that ended early.

        Args:
            values: other values than planned, which the worker asked the person for.
        """
        if self._job is None:
            return
        ended = self._job

        def prepare(task: Task) -> Job:
            wait_until_gone(ended, task)
            if values:
                adjust.consent(ended.folder, values)
            return Job(ended.folder)

        def go_on(job: Job) -> None:
            self.follow(job, start_worker=True)
            self._session.start_run(job)

        self.banner.clear()
        self.run.end_row.set_busy(True)
        run_task(self, prepare, go_on, self._not_done)

    def _to_results(self) -> None:
        self._session.run = self._job
        self._session.go_to.emit("results")

    def _open_chat(self) -> None:
        if self._job is not None:
            self._session.open_run_chat(self._job.folder)

    def _look_for_name(self) -> None:
        """The run may have been renamed in Results."""
        with contextlib.suppress(UserError, OSError):
            if self._job is not None and self._run_config is not None:
                name = RunConfig.from_dict(self._job.request()).name
                if name != self._run_config.name:
                    self._run_config = replace(self._run_config, name=name)
                    self.run.title.setText(run_status.title(self._run_config))
                    self._show_news()

    def confirm_close(self) -> bool:
        """Ask what becomes of the run when the window closes. False: do not close."""
        if self._thread is not None and self.is_running():
            name = self._run_config.name if self._run_config else ""
            answer = close_question.ask(self, name, self.next.queue.waits())
            if answer == "cancel":
                return False
            if answer == "pause":
                self._thread.free()
            elif answer == "stop":
                self._thread.stop()
        self.fit_check.cancel()
        self.detach()
        return True
