"""A run's evaluations: the scores, the panel that starts another, and the running one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from slmstudio.core.evaluation import rivals
from slmstudio.core.i18n import tr
from slmstudio.core.jobs.job import Job
from slmstudio.core.run.folder import result_folder
from slmstudio.gui.common import theme
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.tasks import run_task
from slmstudio.gui.common.widgets.layouts import column_in
from slmstudio.gui.evaluation.answers.rows_model import LOSSES
from slmstudio.gui.evaluation.at_end import LiveAnswers
from slmstudio.gui.evaluation.jobs import Evaluation
from slmstudio.gui.evaluation.panel import EvaluationPanel
from slmstudio.gui.evaluation.running import EvaluationRun
from slmstudio.gui.evaluation.scores import ScoresView
from slmstudio.gui.results.run_facts import RunFacts

if TYPE_CHECKING:
    from slmstudio.core.evaluation.advice import Proposal


class EvaluationSection(QWidget):
    """What the Scores page of a run holds.

    Signals:
        panel_changed: the panel was opened or closed, or an evaluation began or ended.
        rows_wanted(Evaluation, str): show its answers in this order.
        proposal_wanted(Proposal): do this with the run.
    """

    panel_changed = Signal()
    rows_wanted = Signal(object, str)
    proposal_wanted = Signal(object)

    def __init__(self, session: Session):
        super().__init__()
        self._session = session
        self._run: RunFacts | None = None
        self.panel, self.scores = EvaluationPanel(), ScoresView()
        self.running = EvaluationRun(session)
        self.live = LiveAnswers(self.running.followed, self.scores.verdict)
        self.panel.hide()
        column_in(self, self.running, self.panel, self.scores, spacing=theme.SPACE_M)
        self.panel.closed.connect(self._close_panel)
        self.panel.made.connect(self._start)
        self.running.ended.connect(self._ended)
        self.scores.rows_wanted.connect(self.rows_wanted)
        self.scores.go_on.connect(lambda evaluation: self._start(evaluation.job))
        self.scores.proposal_wanted.connect(self._follow_proposal)
        self.scores.chat_wanted.connect(self._use_in_chat)

    def show_run(self, facts: RunFacts) -> None:
        """Show the evaluations of a run; a running one is followed, as after the window was closed."""
        other = self._run is None or self._run.folder != facts.folder
        self._run = facts
        if other:
            self.panel.give_up()
            self.panel.hide()
        self.scores.show_evaluations(facts.evaluations, facts.folder if result_folder(facts.folder) else None)
        at_work = next((each for each in facts.evaluations if each.state == "running"), None)
        if at_work is not None and not self.running.is_running():
            self.running.follow(facts.summary.config.name, at_work.job)
        self._show_state()

    def can_be_opened(self) -> bool:
        """Whether the panel would show something new."""
        return self.panel.isHidden() and not self._at_work_here()

    def open_panel(self, max_new_tokens: int | None = None, limit: int | None = None,
                   test: str | None = None) -> None:
        """Offer another evaluation; arguments as of `EvaluationPanel.show_run`."""
        if self._run is None or self._at_work_here():
            return
        self.panel.show_run(self._run.folder, max_new_tokens, limit, test)
        self.panel.show()
        self._show_state()

    def _follow_proposal(self, evaluation: Evaluation, proposal: Proposal) -> None:
        """Do what concerns the evaluation here; the rest is for other tabs."""
        from slmstudio.core.evaluation.advice import proposals

        if proposal.action == proposals.ANSWERS:
            self.rows_wanted.emit(evaluation, LOSSES)
        elif proposal.action in (proposals.EVALUATE, proposals.OTHER_TEST):
            self.open_panel(**proposal.changes)
        else:
            self.proposal_wanted.emit(proposal)

    def _use_in_chat(self, evaluation: Evaluation, name: str) -> None:
        """Let the run answer as this one did, in Chat and wherever it is served from now on."""
        if self._run is None:
            return
        run = self._run.folder

        def done(kept: Path | None) -> None:
            self._session.open_chat([run]) if kept is not None else self._session.open_run_chat(run)

        run_task(self, lambda task: rivals.keep(run, evaluation.folder, name), done)

    def _close_panel(self) -> None:
        self.panel.hide()
        self._show_state()

    def _start(self, job: Job) -> None:
        """Start the worker of a new evaluation, or of one that continues."""
        if self._run is None or self.running.is_running():
            return
        self.panel.hide()
        self.running.follow(self._run.summary.config.name, job, start_worker=True)
        self._show_state()

    def _ended(self, job: Job) -> None:
        self.scores.show_next(job.folder)
        self._show_state()
        self._session.report_runs_changed()

    def _at_work_here(self) -> bool:
        return self.running.is_running() and self._run is not None and (
            _run_of(self.running.followed.job) == self._run.folder.absolute())

    def _show_state(self) -> None:
        """An evaluation of another run continues unseen; the status bar tells about it."""
        here, running = self._at_work_here(), self.running.is_running()
        self.running.setVisible(here or (not running and self.running.banner.error is not None))
        self.scores.setVisible(self.panel.isHidden())
        self.live.is_shown = self.scores.live = here and self.scores.current() is None
        self.live.show()
        elsewhere = running and not here
        self.panel.set_busy(tr("An evaluation of {run} is running. This one can start when it is done.",
                               run=self.running.name) if elsewhere else "")
        self.panel_changed.emit()


def _run_of(job: Job) -> Path:
    return job.folder.parent.parent
