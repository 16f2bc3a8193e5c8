"""Training: the plan on the left, the run in the middle, its answers and what happened on the right."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from PySide6.QtCore import Slot
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QMessageBox, QWidget

from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.jobs.job import Job
from slmstudio.core.jobs.outcome import Outcome
from slmstudio.core.run import guard_summary as guard_settings
from slmstudio.gui.common import theme
from slmstudio.gui.common.dialogs import question
from slmstudio.gui.common.followed_job import TRAINING, tell_end
from slmstudio.gui.common.run_texts import promise, starting_text
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.tasks import is_busy, run_task
from slmstudio.gui.common.widgets.banner import ErrorBanner
from slmstudio.gui.common.widgets.buttons import set_primary
from slmstudio.gui.common.widgets.layouts import column_in
from slmstudio.gui.training.after_run import RunLauncher
from slmstudio.gui.training.fit_check import FitCheck
from slmstudio.gui.training.pages import TrainingPages
from slmstudio.gui.training.plan_panel import PlanPanel
from slmstudio.gui.training.planning import Planning
from slmstudio.gui.training.run import status
from slmstudio.gui.training.run.followed import FollowedRun
from slmstudio.gui.training.run_feed import RunFeed
from slmstudio.gui.training.run_panel import RunPanel
from slmstudio.gui.training.run_queue import QueueCard
from slmstudio.gui.training.several.machines import MachinesDialog
from slmstudio.gui.training.watch_panel import SampleAnswers

# -- What becomes of a run when the window closes.


def ask(parent: QWidget, name: str, waiting: bool = False) -> str:
    """Ask, and wait for the answer.

    Args:
        name: of the current run.
        waiting: others wait in the queue.

    Returns:
        "keep" (it continues without the window), "pause" (save, and free the memory), "stop" or "cancel" (don't close).
    """
    sentences = [tr("It can continue without the window. Open SLM Studio again to see how far it has got."),
                 tr("If you pause it, it saves a checkpoint and frees its memory. Resume continues from there."),
                 tr("If you stop it, the run ends there, and what it has learned so far is kept.")]
    if waiting:
        sentences.append(tr("The runs in the queue wait until you open the window again."))
    box = question(parent, tr("A run is in progress"), tr("“{name}” is still training.", name=name),
                   " ".join(sentences))
    role = QMessageBox.ButtonRole
    keep = box.addButton(tr("Close and keep training"), role.AcceptRole)
    answers = {keep: "keep", box.addButton(tr("Pause and close"), role.AcceptRole): "pause",
               box.addButton(tr("Stop and close"), role.DestructiveRole): "stop",
               box.addButton(tr("Don't close"), role.RejectRole): "cancel"}
    for button, answer in answers.items():
        button.setObjectName(f"close_{answer}")
    box.setDefaultButton(keep)
    box.exec()
    return next((answer for button, answer in answers.items() if button is box.clickedButton()), "cancel")


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
        self.next = RunLauncher(session, self.plan, self.planning, self)
        self.fit_check = FitCheck(session, self.plan, self.planning, self)
        self.queue_card = QueueCard(self.next.queue)
        self.machines = MachinesDialog(self)
        self._pages = TrainingPages(session, [self.plan, self.queue_card], self.run, [self.watch, self.feed])
        column_in(self, self.banner, (self._pages, 1), spacing=theme.CARD_GAP, margins=theme.PAGE_MARGIN)
        self._connect()
        self._show_choice()
        if session.run is not None:
            self.followed.follow(session.run)

    def _connect(self) -> None:
        session, end, coming = self._session, self.run.end_row, self.next
        for chosen in (session.dataset_changed, session.model_changed,
                       *(row.edited for row in self.plan.rows.values())):
            chosen.connect(lambda *_: self._show_primary(result=False))
        session.dataset_changed.connect(self._show_choice)
        session.model_changed.connect(self._show_choice)
        session.machine_changed.connect(lambda: self.plan.cards.set_machine(session.machine))
        self.plan.cards.set_machine(session.machine)
        for signal, slot in (
                (self.plan.cards.machines_wanted, self.machines.open), (self.machines.start_wanted, self._start_on),
                (coming.not_shared, self._not_shared)):
            signal.connect(slot)
        session.reading_changed.connect(lambda: self.plan.set_reading(session.reading))
        session.run_started.connect(self._run_started)
        self.planning.planned.connect(self._show_choice)
        self.planning.planned.connect(lambda: session.set_plan(self.planning.config, self.planning.counts))
        self.planning.failed.connect(self.banner.show_error)
        self._connect_run()
        for signal, slot in (
                (end.resume_run, self._resume), (end.consent, self._resume), (end.chat_wanted, self._open_chat),
                (end.export_wanted, self._to_results), (end.more_data, self._go_on_with_more),
                (coming.made, self._start_made), (coming.turn, self._turn_has_come),
                (coming.failed, self._not_done), (coming.planning_on, self._plan_goes_on),
                (coming.queue.changed, self._show_choice), (self.plan.buttons.other_wanted, self._plan_other),
                (self.plan.buttons.afresh_wanted, self._plan_afresh), (self.plan.buttons.code_wanted, self._save_code)):
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
        self.run.guard_wanted.connect(lambda: self.run.guard.toggle_editor(run.now()))
        self.run.guard.wanted.connect(self._ask_guard)
        run.begun.connect(self._begun)
        run.replayed.connect(lambda: self.run.show_history(run.history, run.config))
        run.moved.connect(self._show_news)
        run.renamed.connect(lambda: self.run.title.setText(status.title(run.config)))
        run.ended.connect(self._ended)
        run.lost.connect(self._not_started)
        run.failed.connect(self._not_done)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.next.queue.refresh()

    # -- what is chosen --------------------------------------------------------------------------------------

    def _show_choice(self) -> None:
        """Show the page that fits: what to choose first, what Start would do, or the run."""
        ready = self._pages.show_choice(self.followed.job is not None)
        running, buttons = self.followed.is_running(), self.plan.buttons
        self.queue_card.set_running(running)
        self.fit_check.set_free(not running)
        self._planning_next = self._planning_next and running and ready
        if running and not self._planning_next:
            self.planning.set_active(False)
            self.plan.show_config(self.followed.now())
            buttons.show_run(tr("This is the plan of the current run. Use Change… to adjust it while it trains."),
                             can_plan=ready)
            return
        self.planning.set_active(ready)
        if ready:
            self.planning.refresh()
            after = self.planning.after
            buttons.show_plan(running=running, going_on=after.name if after is not None else "")
        else:
            buttons.show_run(tr("Choose data and a base model to plan another run."), can_plan=False)
        if self.followed.job is None:
            self.run.show_waiting(tr("Ready to train") if self.planning.config else tr("Planning"),
                                  self._promise())

    def _show_primary(self, *, result: bool) -> None:
        """What comes first: after a run has ended, its result, until the user chooses something for another run."""
        set_primary(self.plan.start, not result)
        self.run.end_row.set_primary(result)

    def _promise(self) -> str:
        config, counts = self.planning.config, self.planning.counts
        if config is None or counts is None:
            return tr("Measuring the rows with the model's tokenizer …")
        return promise(config, counts.learned, counts.steps)

    def _plan_other(self) -> None:
        """Show the plan of the next run instead of this one's, or go back."""
        self._planning_next = self.followed.is_running() and not self._planning_next
        self._show_choice()

    def _plan_afresh(self) -> None:
        self.planning.go_on_from(None)
        self._show_choice()

    def _plan_goes_on(self) -> None:
        self.run.end_row.set_busy(False)
        self._show_primary(result=False)
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
            self._session.tell_runs_changed()
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
        self.run.end_row.set_busy(False)
        self.feed.clear()
        self.run.begin(status.title(self.followed.config), self.followed.history, self.followed.config)
        self._show_news()
        self._show_choice()

    def _show_news(self) -> None:
        run = self.followed
        self.run.update_from(run.history)
        self.run.set_note(status.gpu_note(run.history, self._session))
        self.feed.update_from(run.history)
        self.machines.update_from(run.history, run.is_running())
        self.watch.update_from(run.history, run.config, run.is_running())
        if run.is_running() and not self.planning.active and self.plan.config != (now := run.now()):
            self.plan.show_config(now)

    def _ended(self, job: Job, outcome: Outcome) -> None:
        run = self.followed
        self.machines.ended(outcome)
        self._show_primary(result=True)
        self.run.end(outcome, run.history, status.is_resumable(outcome, run.history))
        if outcome.was_successful():
            self._session.mark_done("training")
        self.planning.look_again()
        self._session.tell_runs_changed()
        self._show_news()
        self._show_choice()
        if not run.was_over:
            tell_end(self._session, TRAINING, run.config.name, outcome)
        if not run.was_over or job.folder != self._ended_before:
            self.next.after_end(job, run.config.name, outcome)

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
        run = self.followed
        ended = run.job.folder if run.job is not None and run.has_ended() else self._ended_before
        return {"plan": self.planning.save_state(), "ended": ended}

    def restore_state(self, state: dict[str, Any]) -> None:
        self._ended_before = state["ended"]
        self.planning.restore_state(*state["plan"])

    def confirm_close(self) -> bool:
        """Ask what becomes of the run when the window closes. False: don't close."""
        if self.followed.is_running():
            answer = ask(self, self.followed.config.name, self.next.queue.waits())
            if answer == "cancel":
                return False
            if answer in ("pause", "stop"):
                self.followed.send("free" if answer == "pause" else "stop")
        self.fit_check.cancel()
        self.followed.detach()
        return True
