"""Measures what a plan takes, with a worker, and what is said about its memory."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QTimer
from PySide6.QtWidgets import QWidget

from slmstudio.core.errors import from_os_error
from slmstudio.core.i18n import join_sentences, tr
from slmstudio.core.jobs import new
from slmstudio.core.jobs.job import Job
from slmstudio.core.jobs.outcome import Outcome
from slmstudio.core.run import measured
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.memory import formula
from slmstudio.core.run.time_estimate import ROUGH, SCALED
from slmstudio.gui.common import theme
from slmstudio.gui.common.followed_job import FollowedJob
from slmstudio.gui.common.run_texts import phase_text
from slmstudio.gui.common.session import JobStatus, Session
from slmstudio.gui.common.tasks import is_busy, run_task
from slmstudio.gui.common.widgets.banner import clear_error, report_error
from slmstudio.gui.common.widgets.buttons import SecondaryButton
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.layouts import row_in
from slmstudio.gui.common.widgets.progress import ProgressStrip
from slmstudio.gui.training.planning import Planning

if TYPE_CHECKING:
    from slmstudio.core.run.memory.outlook import Outlook


class FitLine(QWidget):
    """Either "Measure now" or how far that is, and beside it what is to be known about the memory."""

    def __init__(self) -> None:
        super().__init__()
        self._outlook: Outlook | None = None
        self._measuring = self._can_measure = False
        self.line = text_label("", "small", wrap=True, name="plan_fit", selectable=True)
        self.measure = SecondaryButton(tr("Measure now"),
                                       tr("Try this plan's longest rows for a few seconds, to see whether they fit in "
                                          "memory and how long a step takes. Nothing is learned or changed."), "small",
                                       name="measure_fit")
        self.strip = ProgressStrip(name="fit_progress")
        row_in(self, self.measure, (self.strip, 1), (self.line, 2), spacing=theme.SPACE_M)
        self.show_outlook(None, can_measure=False)

    def show_outlook(self, outlook: Outlook | None, *, can_measure: bool) -> None:
        """Show what there is to know about a plan's memory.

        Args:
            can_measure: nothing else is running that would be in the way.
        """
        self._outlook, self._can_measure = outlook, can_measure and outlook is not None
        self._show()

    def begin(self) -> None:
        """It is being measured."""
        self._measuring = True
        self.strip.start("")
        self._show()

    def set_progress(self, text: str, done: int, total: int) -> None:
        """How far the measuring is."""
        self.line.setText(f"{text} …")
        self.strip.set_progress(done, total)

    def end(self) -> None:
        """It is measured, or was given up."""
        self._measuring = False
        self._show()

    def _show(self) -> None:
        if self._outlook is not None and not self._measuring:
            self.line.setText(self._sentence(self._outlook))
        level = self._outlook.judgement.level if self._outlook is not None and not self._measuring else ""
        self.line.setProperty("tone", {formula.NO: "bad", formula.TIGHT: "warn"}.get(level, ""))
        theme.restyle(self.line)
        self.strip.setVisible(self._measuring)
        self.measure.setVisible(not self._measuring)  # nothing moves while something else is running
        self.measure.setEnabled(self._can_measure)
        known = self._outlook.best.measured if self._outlook is not None else None
        self.measure.setText(tr("Measure again") if known is not None else tr("Measure now"))

    def _sentence(self, outlook: Outlook) -> str:
        best = outlook.best
        if best.measured is None:
            known = (tr("Not measured yet; estimated from other runs on this machine.") if best.corrected_by
                     else tr("Not measured yet."))
        else:
            known = tr("Memory ran out when this was tried.") if best.measured.ran_out else ""
        return join_sentences(*filter(None, (known, self._advice(outlook))))

    def _advice(self, outlook: Outlook) -> str:
        found = outlook.judgement
        if found.level == formula.NO:
            return tr("This doesn't fit. A smaller micro-batch, a shorter sequence length or QLoRA takes less. You can "
                      "still start: a run that runs out of memory lowers its own micro-batch.")
        if found.reason == formula.LITTLE_ROOM:
            return tr("It may just fit.")
        if found.reason == formula.SLOW:
            return tr("That is longer than an evening. A smaller model or fewer rows take less.")
        return ""


PROBE_MS = 3000
"""A plan that nobody has changed for so long is measured by itself."""


class FitCheck(QObject):
    """Shows what the plan takes, and measures it when the user wants that, or while nothing else is going on: one plan
    at a time.

    Attributes:
        config: what is being measured, while something is.
    """

    def __init__(self, session: Session, line: FitLine, planning: Planning, parent: QWidget):
        super().__init__(parent)
        self._session, self._planning, self._line = session, planning, line
        self.config: RunConfig | None = None
        self.followed = FollowedJob(self, session, "fit_check")
        self.followed.moved.connect(self._show_progress)
        self.followed.ended.connect(self._ended)
        self.followed.lost.connect(self._clear)
        self.followed.failed.connect(partial(report_error, self))
        self._wanted = self._by_itself = False
        self._free = True
        self._probed: RunConfig | None = None
        self._soon = QTimer(self, singleShot=True, interval=PROBE_MS)
        self._soon.timeout.connect(self._probe)
        self._line.measure.clicked.connect(self._measure)
        self._line.strip.cancelled.connect(self.cancel)
        planning.planned.connect(self._plan_made)
        planning.refused.connect(self._refused)
        session.job_changed.connect(self._show)
        if (before := self.followed.before()) is not None:
            self._follow(*before)

    def set_free(self, on: bool) -> None:
        """Whether the machine is free: while a run is in progress, nothing is measured beside it."""
        self._free = on
        if not on:
            self.cancel()
        self._show()

    def is_starting(self) -> bool:
        """Whether it will begin as soon as the plan is there, or is about to say what it found."""
        return self._wanted or is_busy(self)

    def cancel(self) -> None:
        """End it. Nothing is kept."""
        self._wanted = False
        if self.config is not None:
            self.followed.send("cancel")
            if self._by_itself:  # whoever starts something needs the memory now
                self.followed.end_now()
            self._report(tr("Cancelling"), 0, 0)

    def probe_soon(self) -> None:
        """Measure the plan by itself, if the user leaves it as it is and nothing else begins."""
        self._soon.start()

    def _probe(self) -> None:
        config, takes = self._planning.config, self._planning.outlook
        if config is None or takes is None or takes.time is None or takes.time.source not in (SCALED, ROUGH):
            return
        unknown = takes.best.measured is None and (takes.judgement.fits or takes.judgement.reason == formula.SLOW)
        idle = self._free and self._session.job is None and not self._planning.is_busy() and not is_busy(self)
        seen = self._line.isVisible() and not self._line.measure.hasFocus()  # which it would lose
        plain = replace(config, name="", reasons={})
        if not (self._session.settings.measure_plans and unknown and idle and seen and plain != self._probed):
            return
        self._probed, model, machine = plain, self._session.model, self._session.machine
        if model and machine and measured.find(model, config, machine, measured.load()) is not None:
            self._planning.look_again()  # a run of it has ended meanwhile
            return
        self._by_itself = True
        self._start(config)

    def _show(self) -> None:
        free = self._free and (self._session.job is None or self.config is not None)
        self._line.show_outlook(self._planning.outlook, can_measure=free)
        self.probe_soon()

    def _refused(self) -> None:
        self._wanted = False
        self._show()

    def _plan_made(self) -> None:
        self._show()
        if self._wanted:
            self._measure()

    def _measure(self) -> None:
        """Measure the plan; the coming one, when the user has just changed a field."""
        self._wanted = self._planning.is_busy()
        if not self._wanted and self.config is None and self._planning.config is not None:
            clear_error(self)
            self._by_itself = False
            self._start(self._planning.config)

    def _start(self, config: RunConfig) -> None:
        try:
            job = new.fit_check(config.to_dict())
        except OSError as error:
            report_error(self, from_os_error(error, tr("Could not start the fit check.")))
            return
        self._follow(config, job, start_worker=True)
        self._report(phase_text("starting"), 0, 0)

    def _follow(self, config: RunConfig, job: Job, *, start_worker: bool = False) -> None:
        self.config = config
        self.followed.follow(job, start_worker=start_worker, about=config)
        self._line.begin()

    def _show_progress(self) -> None:
        history = self.followed.history
        phase = "resting" if history.guard.stands_still else history.phase
        self._report(phase_text(phase), int(history.done), int(history.total))

    def _report(self, text: str, done: int, total: int) -> None:
        if self.config is not None:
            self._line.set_progress(text, done, total)
            name = tr("Fit check of {name}", name=self.config.name)
            self.followed.show_status(JobStatus(name, done, total, text=text))

    def _ended(self, job: Job, outcome: Outcome) -> None:
        from slmstudio.core.run.memory import fit_badge

        self._clear()
        # Where it was cancelled it removes the rows; else what it found is kept with the machine.
        wanted = outcome.state == "cancelled" or self._by_itself
        run_task(self, lambda task: fit_badge.of_job(job, outcome), lambda _: self._planning.look_again(),
                 lambda error: None if wanted else report_error(self, error))

    def _clear(self) -> None:
        self.config = None
        self._line.end()
