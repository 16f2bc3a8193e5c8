"""The run in the middle of the Training tab: what it is doing, its plots, and what came out."""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import TYPE_CHECKING

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import QFrame, QLineEdit, QWidget

from slmstudio.core import units
from slmstudio.core.i18n import noop, ntr, number_text, tr
from slmstudio.core.jobs.outcome import Outcome
from slmstudio.core.run.config import FIELDS, RunConfig
from slmstudio.core.run.event_text import adjusted_text
from slmstudio.core.run.history import RunHistory
from slmstudio.core.run.run_fields import write
from slmstudio.gui.common import theme
from slmstudio.gui.common.run_texts import outcome_chip, phase_text
from slmstudio.gui.common.tasks import run_task
from slmstudio.gui.common.widgets.areas import Card, scrolled
from slmstudio.gui.common.widgets.banner import ErrorBanner
from slmstudio.gui.common.widgets.buttons import ButtonRow, SecondaryButton, keep_room
from slmstudio.gui.common.widgets.fields import ComboBox, named
from slmstudio.gui.common.widgets.keys import add_key
from slmstudio.gui.common.widgets.labels import Chip, plain_tip, show_text, text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, fill, pages_of, row_of, row_widget
from slmstudio.gui.common.widgets.progress import ProgressBar
from slmstudio.gui.evaluation.answer_view import AnswerView
from slmstudio.gui.training.guard_section import GuardSection, is_resting
from slmstudio.gui.training.run_end import RunControls, RunEnd

if TYPE_CHECKING:
    from slmstudio.gui.plots.run_plots import RunPlots

# -- Change a run while it learns: learning rate, and how long it lasts.

RATE_WIDTH, LENGTH_WIDTH = 72, 64


class ChangeEditor(QFrame):
    """Two fields below the run's progress. What isn't touched isn't sent.

    Signals:
        apply_wanted(dict): `learning_rate`, and `epochs` or `max_steps`: those that are to be different.
    """

    apply_wanted = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("change_editor")
        self.setProperty("bar", True)
        self._config: RunConfig | None = None
        self._done = 0
        self.rate = self._field("change_rate", tr("Learning rate"), RATE_WIDTH,
                                tr("The schedule's peak, from the next step on. Lower it when the loss jumps or eval "
                                   "loss rises."))
        self.length = self._field("change_length", tr("Length of run"), LENGTH_WIDTH,
                                  tr("The length of the whole run, including the steps already done. Shorten it when "
                                     "eval loss stops improving."))
        self.unit = named(ComboBox(), "change_unit", tr("Unit of the length"),
                          tr("An epoch is one pass over the rows, a step one optimizer update."))
        self.unit.addItem(tr("epochs"), "epochs")
        self.unit.addItem(tr("steps"), "max_steps")
        self.unit.activated.connect(self._show_length)
        self.problem = text_label("", "small", wrap=True, tone="bad")
        self._lay_out()
        self.hide()

    def _field(self, name: str, accessible: str, width: int, tooltip: str) -> QLineEdit:
        line = named(QLineEdit(), name, accessible, tooltip)
        line.setFixedWidth(width)
        line.returnPressed.connect(self._apply)
        return line

    def _lay_out(self) -> None:
        apply = SecondaryButton(tr("Apply"), tr("Takes effect at the next step."), "small", name="change_apply",
                                clicked=self._apply)
        cancel = SecondaryButton(tr("Cancel"), tr("Change nothing."), "small", name="change_cancel", clicked=self.hide)
        add_key(self, QKeySequence(Qt.Key.Key_Escape), self.hide, inside=True)
        row = row_of(text_label(tr("Learning rate"), "small"), self.rate, text_label(tr("Length of run"), "small"),
                     self.length, self.unit, STRETCH, cancel, apply)
        column_in(self, row, self.problem, spacing=theme.SPACE_XS,
                  margins=(theme.SPACE_M, theme.SPACE_S, theme.SPACE_M, theme.SPACE_S))

    def open(self, config: RunConfig, history: RunHistory) -> None:
        """Show what holds now.

        Args:
            config: the run's, with what was changed since.
        """
        self._config, self._done = config, history.step
        self.rate.setText(write(config.learning_rate))
        self.unit.setCurrentIndex(1 if config.max_steps else 0)
        self._show_length()
        self._say("")
        self.show()
        self.rate.setFocus()
        self.rate.selectAll()

    def set_step(self, step: int) -> None:
        """This many steps are done: a run can't become shorter than that."""
        self._done = step

    def _show_length(self) -> None:
        assert self._config is not None
        self.length.setText(write(getattr(self._config, self.unit.currentData())))

    def _apply(self) -> None:
        config, length = self._config, self.unit.currentData()
        assert config is not None
        problems, values = [], {}
        for name, text in (("learning_rate", self.rate.text()), (length, self.length.text())):
            if text.strip() == write(getattr(config, name)):
                continue
            try:
                values[name] = FIELDS[name].read(text)
            except ValueError as error:
                problems.append(str(error))
        if not problems:
            problems = [problem.message for problem in replace(config, **values).problems()]
        if "max_steps" in values and not values["max_steps"]:
            problems.append(tr("Enter the number of steps, or choose epochs."))
        elif values.get("max_steps", self._done + 1) <= self._done:
            problems.append(ntr("{n:,} step is already done. To end the run now, press Stop and keep.",
                                "{n:,} steps are already done. To end the run now, press Stop and keep.", self._done))
        self._say(" ".join(problems))
        if not problems:
            self.hide()
            if values:
                self.apply_wanted.emit(values)

    def _say(self, problem: str) -> None:
        show_text(self.problem, problem)


LEAST_WIDTH, HEADER = 420, 32
"""In a narrower window the page scrolls."""
UNITS = {"rows": noop("rows"), "bytes": noop("bytes"), "passes": noop("passes")}
"""What a phase counts, as the worker tells it."""


class RunPanel(Card):
    """Title, state, buttons, progress, and one of: nothing yet, the phases before the first step, the plots.

    Attributes:
        controls: what can be done while it works.
        end_row: what can be done with a run that has ended; answers: what came of it.
        change: the editor of the current run.
        guard: what looks after the machine; `guard_button` shows its fields.

    Signals:
        change_wanted: the user wants to change the run; `open_change` shows the fields.
    """

    change_wanted = Signal()

    def __init__(self) -> None:
        super().__init__(" ")
        self.title.setText(tr("No run yet"))
        self.chip = Chip(name="run_state")
        self.chip.hide()
        self.header.insertWidget(1, self.chip)
        self.plots: RunPlots | None = None
        self._history, self._note, self._loading = RunHistory(), "", False
        self._config: RunConfig | None = None
        self._live = False
        self.controls, self.end_row, self.change = RunControls(), RunEnd(), ChangeEditor()
        self.guard, self.answers = GuardSection(), AnswerView()
        self.end_row.pages.changed.connect(lambda _: self.update_from(self._history))
        for signal in (self.controls.stop, self.controls.free, self.controls.pause):
            signal.connect(lambda: self.update_from(self._history))  # at once: the step may take minutes
        self.banner = ErrorBanner(name="run_banner")
        self.remark = text_label("", "small", wrap=True, name="run_remark", tone="warn")
        self.remark.hide()
        self._waiting = text_label("", "muted", wrap=True, name="run_waiting", centred=True)
        self._result = scrolled(self.answers)
        self._pages = pages_of(self._waiting, self._result)
        # What comes with the end of a run is at the foot, so that the plots stay where they are.
        fill(self.body, self._make_progress(), self.change, self.guard, self.remark, (self._pages, 1), self.banner,
             self.end_row)
        fill(self.header, self.end_row.pages, self.controls)
        theme.grow(self.title, "setMinimumHeight", HEADER)  # as high as the buttons, which go
        for button in (self.change_button, self.guard_button):
            keep_room(button)

    def minimumSizeHint(self) -> QSize:
        return super().minimumSizeHint().expandedTo(QSize(LEAST_WIDTH, 0))

    def _make_progress(self) -> QWidget:
        self.bar = ProgressBar()
        self.bar.setAccessibleName(tr("Progress of the run"))
        self.count = text_label("", "strong", name="run_count")
        self.clock = text_label("", "small", name="run_clock")
        self.change_button = SecondaryButton(tr("Change…"),
                                             tr("Change the learning rate or the length of the run while it trains."),
                                             "small", name="change", clicked=self._toggle_change)
        self.guard_button = SecondaryButton(tr("Heat…"), tr("Change when the run pauses: temperature, battery, hours."),
                                            "small", name="change_guard")
        self._progress = ButtonRow()
        fill(self._progress.box, (row_widget((self.bar, 1), self.count), 1),
             row_widget((self.clock, 1), self.change_button, self.guard_button))
        self._progress.hide()
        return self._progress

    def _toggle_change(self) -> None:
        if self.change.isHidden():
            self.change_wanted.emit()
        else:
            self.change.hide()

    def open_change(self, config: RunConfig) -> None:
        """Let the user change the run; `config` is what holds now."""
        self.change.open(config, self._history)

    def begin(self, title: str, history: RunHistory, config: RunConfig | None = None) -> None:
        """Show a run from now on; its events come with `update_from`."""
        self.title.setText(title)
        self.banner.clear()
        self.end_row.hide()
        self.end_row.pages.hide()
        self.end_row.pages.set_current(0)
        self._result.verticalScrollBar().setValue(0)
        self.change.hide()
        self.guard.hide_all()
        self._live = True
        self.controls.begin()
        self._progress.show()
        self.show_history(history, config)
        self.update_from(history)

    def show_history(self, history: RunHistory, config: RunConfig | None = None) -> None:
        """Plot this history from now on.

        Args:
            config: of the run, for where its guard acts.
        """
        self._history, self._config = history, config
        if self.plots is not None:
            self.plots.show_history(history, config)
        elif not self._loading:
            self._loading = True
            run_task(self, lambda task: importlib.import_module("numpy"), lambda _: self._make_plots(),
                     self.banner.show_error)

    def _make_plots(self) -> None:
        """What the plots calculate with was loaded off the UI thread; what paints them must be loaded on it, because it
        reads all of Qt's types, and two threads at that at once end the program."""
        from slmstudio.gui.plots.run_plots import RunPlots

        self.plots = RunPlots()
        self._pages.addWidget(self.plots)
        self.plots.set_note(self._note)
        self.show_history(self._history, self._config)
        self.update_from(self._history)

    def set_note(self, note: str) -> None:
        """Said below the plots, as why there is no temperature."""
        self._note = note
        if self.plots is not None:
            self.plots.set_note(note)

    def update_from(self, history: RunHistory) -> None:
        """The history has more to show."""
        begun = self.plots is not None and history.step > 0
        if self.plots is not None:
            self.plots.refresh()
        answers = not self.end_row.pages.isHidden() and not self.end_row.pages.current() and not self._live
        self._pages.setCurrentWidget(self._result if answers else self.plots if begun else self._waiting)
        if self._live:
            self.guard.update_from(history)
            self._show_state(history)
            self.change.set_step(history.step)
        if history.stepping or not self._live:
            self._show_steps(history)
        else:
            self._show_phase(history)
        self.change_button.setVisible(self._live and history.stepping)
        self.guard_button.setVisible(self._live and (history.stepping or is_resting(history)))
        self._show_remark(history)

    def _show_state(self, history: RunHistory) -> None:
        controls = self.controls
        controls.show_state(paused=history.paused, stepping=history.stepping, nothing_kept=history.step == 0)
        if controls.stopping or controls.freeing or controls.pausing:
            self.chip.set(tr("stopping") if controls.stopping else tr("pausing"), "warn")
        elif history.paused:
            self.chip.set(tr("paused"), "warn")
        elif is_resting(history):
            self.chip.set(tr("resting"), "warn")
        elif history.stepping:
            doing = {"evaluating": tr("evaluating"), "sampling": tr("sampling")}
            self.chip.set(doing.get(history.phase, tr("running")), "accent")
        else:
            self.chip.set(tr("starting"), "accent")
        self.chip.setToolTip(plain_tip(self.guard.why.text()) if is_resting(history) and not history.paused else "")
        self.chip.show()

    def _show_remark(self, history: RunHistory) -> None:
        """What the run lowered by itself, and why a change wasn't made."""
        parts = [adjusted_text(event) for event in history.adjustments[-1:]]
        if history.change_refused and self._live:
            parts.append(history.change_refused)
        text = " ".join(_sentence(part) for part in parts)
        show_text(self.remark, text)

    def _show_steps(self, history: RunHistory) -> None:
        total = history.total_steps
        self.bar.setRange(0, 1000 if total or not self._live else 0)  # only what is at work moves
        self.bar.setValue(min(1000, round(1000 * history.step / total)) if total else 0)
        step = number_text(history.step)
        self.count.setText(f"{step} / {number_text(total)}" if total else step)
        if self._live and self.controls.pausing:
            self.clock.setText(tr("Pausing after this step…"))
            return
        parts = [tr("epoch {epoch:.1f}", epoch=history.epoch),
                 tr("{time} elapsed", time=units.format_duration(history.seconds))]
        if self._live and history.seconds_left is not None and not history.paused:
            resting = is_resting(history) and history.guard.resting["why"] != "hours"  # else that counts the wait
            left = units.format_about(history.seconds_left)
            parts.append(tr("{time} of work left", time=left) if resting else tr("{time} left", time=left))
        self.clock.setText(" · ".join(parts))

    def _show_phase(self, history: RunHistory) -> None:
        known = history.total > 0
        self.bar.setRange(0, 1000 if known else 0)
        self.bar.setValue(round(1000 * history.done / history.total) if known else 0)
        self.count.setText("")
        text = phase_text(history.phase)
        done, total, unit = (number_text(history.done, ",.0f"), number_text(history.total, ",.0f"), history.unit)
        self.clock.setText(f"{text} {done} / {total} {tr(UNITS.get(unit, unit)) if unit else ''}" if known else text)
        lines = [f"✓ {phase_text(phase)}" for phase in history.phases if phase != history.phase]
        now = f"{text}: {history.detail}" if history.detail else f"{text} …"
        self._waiting.setText("\n".join([*lines, now]))

    def end(self, outcome: Outcome, history: RunHistory, resumable: bool) -> None:
        """Show how the run ended."""
        self._live = False
        self.controls.hide()
        self.change.hide()
        self.guard.hide_all()
        self.chip.set(*outcome_chip(outcome.state))
        self.chip.show()
        if not outcome.was_successful() and outcome.state not in ("cancelled", "paused"):
            self.banner.show_error(outcome.user_error())
        self.end_row.show_outcome(outcome, history, resumable)
        self._progress.setVisible(not outcome.was_successful())  # else its foot says it
        self.update_from(history)


def _sentence(text: str) -> str:
    """A message that is in a list elsewhere, as a sentence of its own."""
    return text[:1].upper() + text[1:] if text.endswith((".", "।")) else \
        tr("{sentence}.", sentence=text[:1].upper() + text[1:])
