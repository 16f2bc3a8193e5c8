"""Training: the fields on the left; in the middle the plan, or the run, with its answers and what happened on the
right."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Slot
from PySide6.QtGui import QKeySequence, QShowEvent
from PySide6.QtWidgets import QWidget

from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.jobs.job import Job
from slmstudio.core.jobs.outcome import Outcome
from slmstudio.core.run import guard_summary as guard_settings
from slmstudio.core.run.searching import search as searches
from slmstudio.gui.common import theme
from slmstudio.gui.common.followed_job import TRAINING, report_end
from slmstudio.gui.common.run_texts import starting_text
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.tasks import is_busy, run_task
from slmstudio.gui.common.widgets.banner import ErrorBanner
from slmstudio.gui.common.widgets.keys import add_key
from slmstudio.gui.common.widgets.layouts import column_in
from slmstudio.gui.evaluation.answer_view import follow_proposal
from slmstudio.gui.evaluation.at_end import EndEvaluation
from slmstudio.gui.training.after_run import RunLauncher
from slmstudio.gui.training.fit_check import FitCheck
from slmstudio.gui.training.followed import FollowedRun, ask_before_closing, gpu_note, is_resumable, run_title
from slmstudio.gui.training.pages import TrainingPages
from slmstudio.gui.training.plan_panel import PlanPanel
from slmstudio.gui.training.plan_view import PlanView
from slmstudio.gui.training.planning import Planning
from slmstudio.gui.training.run_feed import RunFeed
from slmstudio.gui.training.run_panel import RunPanel
from slmstudio.gui.training.run_queue import QueueCard
from slmstudio.gui.training.search_dialog import SearchDialog
from slmstudio.gui.training.several import MachinesDialog
from slmstudio.gui.training.watch_panel import SampleAnswers

if TYPE_CHECKING:
    from slmstudio.core.evaluation.advice import Proposal


class TrainingTab(QWidget):
    """Plans a run, starts it, follows it, and shows how it ended."""

    def __init__(self, session: Session):
        super().__init__()
        self._session = session
        self.followed = FollowedRun(session, self)
        self._planning_next = False
        self._ended_before: Path | None = None  # the run whose end was served by the tab before this one
        self.banner = ErrorBanner(name="training_banner")
        self.planning = Planning(session, self)
        self.plan, self.run, self.watch, self.feed = PlanPanel(self.planning), RunPanel(), SampleAnswers(), RunFeed()
        self.before = PlanView(session, self.planning)
        self.next = RunLauncher(session, self.plan, self.before, self.planning, self)
        self.fit_check = FitCheck(session, self.before.fit, self.planning, self)
        self.queue_card = QueueCard(self.next.queue)
        self.machines = MachinesDialog(self)
        self.search = SearchDialog(session, self.planning, self.next.queue, self)
        self.evaluation = EndEvaluation(session, self.run.answers, self)
        self._pages = TrainingPages(session, [self.plan, self.queue_card], self.before, self.run,
                                    [self.watch, self.feed])
        add_key(self, QKeySequence.StandardKey.Undo, self.planning.undo, inside=True)
        column_in(self, (self._pages, 1), self.banner, spacing=theme.CARD_GAP, margins=theme.PAGE_MARGIN)
        self._connect()
        self._show_choice()
        if session.run is not None:
            self.followed.follow(session.run)

    def _connect(self) -> None:
        session, end, coming, buttons = self._session, self.run.end_row, self.next, self.plan.buttons
        for chosen in (session.dataset_changed, session.model_changed, session.field_wanted):
            chosen.connect(self._plan_another)
        session.machine_changed.connect(lambda: self.plan.cards.set_machine(session.machine))
        self.plan.cards.set_machine(session.machine)
        for signal, slot in (
                (self.plan.cards.machines.clicked, self.machines.open), (self.machines.start_wanted, self._start_on),
                (coming.not_shared, self._not_shared)):
            signal.connect(slot)
        session.run_started.connect(self._run_started)
        self.planning.planned.connect(self._show_choice)
        self.planning.planned.connect(lambda: session.set_plan(
            self.planning.config, self.planning.counts, self.planning.lost))
        self.planning.failed.connect(self.banner.show_error)
        self._connect_run()
        for signal, slot in (
                (end.resume_run, self._resume), (end.consent, self._resume), (end.chat_wanted, self._open_chat),
                (end.export_wanted, self._to_results), (end.more_data, self._go_on_with_more),
                (coming.made, self._start_made), (coming.turn, self._turn_has_come),
                (coming.failed, self._not_done), (coming.planning_on, self._plan_goes_on),
                (coming.queue.changed, self._show_choice), (buttons.other.clicked, self._plan_other),
                (buttons.afresh.clicked, self._plan_afresh), (buttons.code.clicked, self._save_code),
                (buttons.save.clicked, coming.save_plan), (buttons.find.clicked, self.search.open)):
            signal.connect(slot)

    def _connect_run(self) -> None:
        run, controls = self.followed, self.run.controls
        for signal, name in ((controls.pause, "pause"), (controls.resume, "resume"), (controls.free, "free"),
                             (controls.checkpoint, "checkpoint"), (controls.stop, "stop"),
                             (self.watch.sample_wanted, "sample")):
            signal.connect(partial(run.send, name))
        controls.end_now.connect(run.end_now)
        self.run.change_wanted.connect(lambda: self.run.open_change(run.now()))
        self.run.change.apply_wanted.connect(lambda values: run.send("change", **values))
        self.run.guard_button.clicked.connect(lambda: self.run.guard.toggle_editor(run.now()))
        self.run.guard.wanted.connect(self._ask_guard)
        run.begun.connect(self._begun)
        run.replayed.connect(lambda: self.run.show_history(run.history, run.config))
        run.moved.connect(self._show_news)
        run.renamed.connect(lambda: self.run.title.setText(run_title(run.config)))
        run.ended.connect(self._ended)
        run.lost.connect(self._not_started)
        run.failed.connect(self._not_done)
        self.evaluation.over.connect(self._after_evaluation)
        self.run.answers.wanted.connect(self._follow_proposal)
        self.run.answers.read_all.connect(lambda: self._session.open_answers(
            self.evaluation.evaluation, self.followed.now().name))

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.next.queue.refresh()
        self.fit_check.probe_soon()

    # -- what is chosen --------------------------------------------------------------------------------------

    def _show_choice(self) -> None:
        """Show the page that fits: what to choose first, what Start would do, or the run."""
        has_run = self.followed.job is not None
        ready, running, buttons = self._pages.show_choice(has_run), self.followed.is_running(), self.plan.buttons
        self.queue_card.set_running(running)
        self.fit_check.set_free(not running)
        self.before.set_running(running)
        self._planning_next = self._planning_next and ready
        shows_run = has_run and not self._planning_next
        self._pages.show_plan(not shows_run)
        if shows_run:
            self.planning.set_active(False)
            self.plan.show_config(self.followed.now())
            buttons.show_run(
                tr("This is the plan of the current run. Use Change… to adjust it while it trains.") if running else
                tr("This is the plan of the run that has ended.") if ready else
                tr("Choose data and a base model to plan another run."), can_plan=ready,
                searching=searches.is_trial(self.followed.config))
            return
        self.planning.set_active(ready)
        if ready:
            self.planning.refresh()
            after = self.planning.after
            buttons.show_plan(has_run=has_run, going_on=after.name if after is not None else "")

    def _plan_another(self, *_: object) -> None:
        """Who chooses something for another run has seen the result of the last one."""
        self._planning_next = self._planning_next or not self.followed.is_running()
        self._show_choice()

    def _plan_other(self) -> None:
        """Show the plan of the next run instead of this one's, or go back."""
        self._planning_next = not self._planning_next
        self._show_choice()

    def _plan_afresh(self) -> None:
        self.planning.go_on_from(None)
        self._show_choice()

    def _plan_goes_on(self) -> None:
        self.run.end_row.set_busy(False)
        self._planning_next = True
        self._show_choice()

    def _go_on_with_more(self) -> None:
        if self.followed.job is not None:
            self.run.end_row.set_busy(True)
            self.next.go_on_from(self.followed.job.folder)

    def _save_code(self) -> None:
        job = self.followed.job
        self.next.save_code(job.folder if job is not None and not self.planning.active else None)

    # -- a run -----------------------------------------------------------------------------------------------

    def _start_made(self, job: Job) -> None:
        if self.followed.is_running():
            self._not_done(self._busy(
                tr("Its folder has been created. Start it from Results when the other run has ended.")))
            self._session.report_runs_changed()
            return
        self.followed.follow(job, start_worker=True)
        self._session.start_run(job)

    def _busy(self, remedy: str) -> UserError:
        return UserError(tr("The run wasn't started."), tr("“{name}” is still running.", name=self.followed.now().name),
                         remedy)

    def _start_on(self, machines: int, address: str, port: int) -> None:
        if self.followed.is_running():
            self._not_shared(self._busy(tr("Stop it or wait until it has ended, then try again.")))
        else:
            self.next.start_on(machines, address, port)

    def _not_shared(self, error: Exception) -> None:
        if not self.machines.show_error(error):
            self._not_done(error)

    def _turn_has_come(self, job: Job) -> None:
        if not self.followed.is_running():
            self._session.start_run(job)  # which is followed then

    def _not_done(self, error: Exception) -> None:
        self.run.end_row.set_busy(False)
        self.banner.show_error(error)

    @Slot(object)
    def _run_started(self, job: Job) -> None:
        """A run was started elsewhere, as from Results or by Resume there."""
        shown = self.followed.job
        if shown is None or job.folder != shown.folder or not self.followed.is_running():
            self.followed.follow(job)

    def _begun(self) -> None:
        self._planning_next = False
        if self.followed.job is not None:
            self.evaluation.give_way(self.followed.job.folder)
        self.run.end_row.set_busy(False)
        self.feed.clear()
        self.run.begin(run_title(self.followed.config), self.followed.history, self.followed.config)
        self._show_news()
        self._show_choice()

    def _show_news(self) -> None:
        run = self.followed
        self.run.update_from(run.history)
        self.run.set_note(gpu_note(run.history, self._session))
        self.feed.update_from(run.history)
        self.machines.update_from(run.history, run.is_running())
        self.watch.update_from(run.history, run.config, run.is_running())
        if not self.planning.active and self.plan.config != (now := run.now()):
            self.plan.show_config(now)

    def _ended(self, job: Job, outcome: Outcome) -> None:
        run = self.followed
        self.machines.ended(outcome)
        self.run.end(outcome, run.history, is_resumable(outcome, run.history))
        if outcome.was_successful():
            self._session.mark_done("training")
        self.planning.look_again()
        self._session.report_runs_changed()
        self._show_news()
        self._show_choice()
        if not run.was_over and not searches.is_trial(run.config):
            report_end(self._session, TRAINING, run.config.name, outcome)
        if outcome.was_successful():
            self.evaluation.show_run(job.folder, run.config.name)
        if not outcome.was_successful() or not self._session.settings.evaluate_at_end:
            self._after_end(job, outcome)  # else once it is evaluated

    def _after_evaluation(self, job: Job) -> None:
        ended = self.followed.job.outcome() if self.followed.job is not None else None
        if ended is not None and self._session.settings.evaluate_at_end:
            self._after_end(job, ended)

    def _after_end(self, last: Job, outcome: Outcome) -> None:
        """A run has ended, and `last` is the job that still may hold its memory; done once for each run."""
        run = self.followed
        if run.job is not None and (not run.was_over or run.job.folder != self._ended_before):
            self._ended_before = run.job.folder
            self.next.after_end(last, run.now().name, outcome)

    def _follow_proposal(self, proposal: Proposal) -> None:
        job = self.followed.job
        if job is not None and not follow_proposal(self._session, job.folder, self.followed.now(), proposal):
            self._to_results()

    def _not_started(self, job: Job, error: Exception) -> None:
        outcome = Outcome("failed", error.to_dict() if isinstance(error, UserError) else None)
        self.run.end(outcome, self.followed.history, resumable=job.folder.exists())
        self.run.banner.clear()
        self._show_choice()

    def _ask_guard(self, values: dict[str, Any]) -> None:
        """Let the run look after the machine in another way from now on."""
        job, editor = self.followed.job, self.run.guard.editor

        def refused(error: Exception) -> None:
            if isinstance(error, UserError) and not editor.isHidden():
                editor.refused(error)
            else:
                self.banner.show_error(error)

        if job is not None:
            run_task(self, lambda task: guard_settings.ask(job, values), lambda _: editor.hide(), refused)

    def _resume(self, values: dict[str, Any] | None = None) -> None:
        self.banner.clear()
        self.run.end_row.set_busy(True)
        self.followed.resume(values)

    def _to_results(self) -> None:
        self._session.run = self.followed.job
        self._session.go_to("results")

    def _open_chat(self) -> None:
        if self.followed.job is not None:
            self._session.open_run_chat(self.followed.job.folder)

    def why_not_now(self) -> str:
        """Why another tab can't take over now; "" if it can."""
        starting = self.next.is_starting() or self.fit_check.is_starting() or is_busy(self.followed)
        return starting_text() if starting else ""

    def save_state(self) -> dict[str, Any]:
        """What is planned, and the run whose end is known, for `restore_state` of the tab that replaces this one."""
        return {"plan": self.planning.save_state(), "ended": self._ended_before}

    def restore_state(self, state: dict[str, Any]) -> None:
        self._ended_before = state["ended"]
        self.planning.restore_state(*state["plan"])

    def confirm_close(self) -> bool:
        """Ask what becomes of the run when the window closes. False: don't close."""
        if self.followed.is_running():
            answer = ask_before_closing(self, self.followed.config.name, self.next.queue.waits())
            if answer == "cancel":
                return False
            if answer in ("pause", "stop"):
                self.followed.send("free" if answer == "pause" else "stop")
        self.fit_check.cancel()
        self.followed.detach()
        return True
