"""The run in the middle of the Training tab: what it is doing, its plots, and what came out."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QHBoxLayout, QProgressBar, QStackedWidget, QVBoxLayout, QWidget

from slmstudio.core import words
from slmstudio.core.jobs import Outcome
from slmstudio.core.run.history import RunHistory
from slmstudio.gui import theme
from slmstudio.gui.run_words import outcome_chip, phase_text, steps_text
from slmstudio.gui.tasks import run_task
from slmstudio.gui.widgets import Card, Chip, ErrorBanner, PrimaryButton, SecondaryButton, text_label

if TYPE_CHECKING:
    from slmstudio.gui.run_plots import RunPlots


class RunPanel(Card):
    """Title, state, buttons, progress, and one of: nothing yet, the phases before the first step, the plots.

    Signals:
        pause, resume, checkpoint, stop, end_now: a button was pressed.
        resume_run: go on with a run that ended early, in its folder.
        export_wanted, chat_wanted: what to do with the result.
    """

    pause = Signal()
    resume = Signal()
    checkpoint = Signal()
    stop = Signal()
    end_now = Signal()
    resume_run = Signal()
    export_wanted = Signal()
    chat_wanted = Signal()

    def __init__(self, parent: QWidget | None = None):
        super().__init__(" ", parent=parent)
        self.title.setText(self.tr("No run yet"))
        self.chip = Chip()
        self.chip.setObjectName("run_state")
        self.chip.hide()
        self.header.insertWidget(1, self.chip)
        self.plots: RunPlots | None = None
        self._history, self._note, self._loading = RunHistory(), "", False
        self._details = ""
        self._stopping = self._live = False
        self._make_buttons()
        self.banner = ErrorBanner()
        self.banner.setObjectName("run_banner")
        self.body.addWidget(self.banner)
        self.body.addWidget(self._make_end_row())
        self.body.addWidget(self._make_progress())
        self._pages = QStackedWidget()
        self._waiting = text_label("", "muted", wrap=True)
        self._waiting.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._waiting.setObjectName("run_waiting")
        self._pages.addWidget(self._waiting)
        self.body.addWidget(self._pages, 1)

    def _make_buttons(self) -> None:
        self.pause_button = SecondaryButton(self.tr("Pause"), self.tr(
            "Stop computing after this step and keep everything in memory, to use the machine for something else."))
        self.checkpoint_button = SecondaryButton(self.tr("Checkpoint now"), self.tr(
            "Save a checkpoint after this step, from which the run can go on after a power cut."))
        self.stop_button = SecondaryButton(self.tr("Stop and keep"), self.tr(
            "Finish this step, save, and end the run. What it has learned is kept."), "danger")
        self.end_button = SecondaryButton(self.tr("End now"), self.tr(
            "Do not wait for the step: end the process. What came after the last checkpoint is lost."), "danger")
        for name, button in (("pause", self.pause_button), ("checkpoint", self.checkpoint_button),
                             ("stop", self.stop_button), ("end_now", self.end_button)):
            button.setObjectName(name)
            button.hide()
            self.header.addWidget(button)
        self.pause_button.clicked.connect(lambda: (self.resume if self._paused else self.pause).emit())
        self.checkpoint_button.clicked.connect(self.checkpoint)
        self.stop_button.clicked.connect(self._stop)
        self.end_button.clicked.connect(self.end_now)
        self._paused = False
        self._dress_buttons()
        theme.THEME.changed.connect(self._dress_buttons)

    def _dress_buttons(self) -> None:
        self.pause_button.setIcon(theme.icon("play" if self._paused else "pause", "ink"))
        self.stop_button.setIcon(theme.icon("stop", "bad"))

    def _make_progress(self) -> QWidget:
        self._progress = QWidget()
        row = QHBoxLayout(self._progress)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(theme.SPACE_S)
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setAccessibleName(self.tr("Progress of the run"))
        self.count = text_label("", "strong")
        self.count.setObjectName("run_count")
        self.clock = text_label("", "small")
        self.clock.setObjectName("run_clock")
        row.addWidget(self.bar, 1)
        row.addWidget(self.count)
        row.addWidget(self.clock)
        self._progress.hide()
        return self._progress

    def _make_end_row(self) -> QWidget:
        """What came out, and what to do next; below an error: Resume."""
        self._end = QWidget()
        row = QHBoxLayout(self._end)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(theme.SPACE_S)
        column = QVBoxLayout()
        column.setSpacing(2)
        self.result = text_label("", "strong", wrap=True)
        self.result.setObjectName("run_result")
        self.result_note = text_label("", "small", wrap=True)
        column.addWidget(self.result)
        column.addWidget(self.result_note)
        row.addLayout(column, 1)
        self.copy_button = SecondaryButton(self.tr("Copy details"), self.tr(
            "Copy what the worker printed last, for a bug report."))
        self.resume_button = PrimaryButton(self.tr("Resume"), self.tr(
            "Go on from the newest checkpoint, in the same run."))
        self.chat_button = SecondaryButton(self.tr("Chat"), "")
        self.export_button = PrimaryButton(self.tr("Export…"), self.tr(
            "Make a GGUF file of the result, to chat with it and to use it in other programs."))
        for name, button in (("copy_details", self.copy_button), ("resume_run", self.resume_button),
                             ("chat", self.chat_button), ("export", self.export_button)):
            button.setObjectName(name)
            row.addWidget(button, 0, Qt.AlignmentFlag.AlignTop)
        self.copy_button.clicked.connect(lambda: QGuiApplication.clipboard().setText(self._details))
        self.resume_button.clicked.connect(self.resume_run)
        self.chat_button.clicked.connect(self.chat_wanted)
        self.export_button.clicked.connect(self.export_wanted)
        self._end.hide()
        return self._end

    def show_waiting(self, title: str, text: str) -> None:
        """No run: say what pressing Start will do."""
        self.title.setText(title)
        self._waiting.setText(text)
        self._pages.setCurrentWidget(self._waiting)

    def begin(self, title: str, history: RunHistory) -> None:
        """Show a run from now on; its events come with `update_from`."""
        self.title.setText(title)
        self.banner.clear()
        self._end.hide()
        self._live, self._stopping = True, False
        self._progress.show()
        self.show_history(history)
        self.update_from(history)

    def show_history(self, history: RunHistory) -> None:
        """Plot this history from now on."""
        self._history = history
        if self.plots is not None:
            self.plots.show_history(history)
        elif not self._loading:
            self._loading = True
            run_task(self, lambda task: importlib.import_module("slmstudio.gui.run_plots"), self._make_plots,
                     self.banner.show_error)

    def _make_plots(self, module: ModuleType) -> None:
        """The plotting library is there; it was loaded off the UI thread, when a run was first shown."""
        self.plots = module.RunPlots()
        self._pages.addWidget(self.plots)
        self.plots.set_note(self._note)
        self.show_history(self._history)
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
        self._pages.setCurrentWidget(self.plots if begun else self._waiting)
        if self._live:
            self._show_state(history)
        if history.stepping or not self._live:
            self._show_steps(history)
        else:
            self._show_phase(history)

    def _show_state(self, history: RunHistory) -> None:
        self._paused = history.paused
        if self._stopping:
            self.chip.set(self.tr("stopping"), "warn")
        elif history.paused:
            self.chip.set(self.tr("paused"), "warn")
        elif history.stepping:
            self.chip.set(self.tr("evaluating") if history.phase == "evaluating" else self.tr("running"), "accent")
        else:
            self.chip.set(self.tr("starting"), "accent")
        self.chip.show()
        self.pause_button.setText(self.tr("Go on") if history.paused else self.tr("Pause"))
        self._dress_buttons()
        for button in (self.pause_button, self.checkpoint_button):
            button.setVisible(not self._stopping)
            button.setEnabled(history.stepping)
        self.stop_button.setVisible(not self._stopping)
        self.end_button.setVisible(self._stopping)

    def _show_steps(self, history: RunHistory) -> None:
        total = history.total_steps
        self.bar.setRange(0, 1000 if total else 0)
        self.bar.setValue(round(1000 * history.step / total) if total else 0)
        self.count.setText(f"{history.step:,} / {total:,}" if total else f"{history.step:,}")
        parts = [self.tr("epoch {epoch}").format(epoch=f"{history.epoch:.1f}"),
                 self.tr("{time} gone").format(time=words.format_duration(history.seconds))]
        if self._live and history.seconds_left is not None and not history.paused:
            parts.append(self.tr("{time} left").format(time=words.format_duration(history.seconds_left)))
        self.clock.setText(" · ".join(parts))

    def _show_phase(self, history: RunHistory) -> None:
        known = history.total > 0
        self.bar.setRange(0, 1000 if known else 0)
        self.bar.setValue(round(1000 * history.done / history.total) if known else 0)
        self.count.setText("")
        text = phase_text(history.phase)
        self.clock.setText(f"{text} {history.done:,.0f} / {history.total:,.0f} {history.unit}" if known else text)
        lines = [f"✓ {phase_text(phase)}" for phase in history.phases if phase != history.phase]
        now = f"{text}: {history.detail}" if history.detail else f"{text} …"
        self._waiting.setText("\n".join([*lines, now]))

    def _stop(self) -> None:
        self._stopping = True
        self.chip.set(self.tr("stopping"), "warn")
        for button in (self.pause_button, self.checkpoint_button, self.stop_button):
            button.hide()
        self.end_button.show()
        self.stop.emit()

    def end(self, outcome: Outcome, history: RunHistory, resumable: bool, has_export: bool) -> None:
        """Show how the run ended."""
        self._live = self._stopping = False
        for button in (self.pause_button, self.checkpoint_button, self.stop_button, self.end_button):
            button.hide()
        self.chip.set(*outcome_chip(outcome.state))
        self.chip.show()
        self.update_from(history)
        if not outcome.was_successful() and outcome.state != "cancelled":
            self.banner.show_error(outcome.user_error())
        self._details = "\n".join(part for part in (str(outcome.user_error()), outcome.details) if part)
        done = outcome.was_successful()
        self.result.setText(self._result_text(outcome.result, history))
        self.result.setVisible(done)
        self.result_note.setText(self._result_note(outcome, history, resumable))
        self.copy_button.setVisible(not done and bool(outcome.details))
        self.resume_button.setVisible(resumable)
        self.export_button.setVisible(done)
        self.chat_button.setVisible(done)
        self.set_has_export(has_export)
        self._end.show()

    def set_has_export(self, on: bool) -> None:
        """Chat needs a GGUF file of the run."""
        self.chat_button.setEnabled(on)
        self.chat_button.setToolTip(self.tr("Talk to the exported model.") if on else
                                    self.tr("Export the result first: Chat opens its GGUF file."))

    def _result_text(self, result: dict[str, Any], history: RunHistory) -> str:
        series = history.series
        before = result.get("eval_loss_before") or (series["eval_loss"].y[0] if series["eval_loss"] else None)
        after = result.get("eval_loss_after") or series["eval_loss"].last()
        if before is not None and after is not None:
            return self.tr("Eval loss {before} → {after}").format(before=f"{before:.2f}", after=f"{after:.2f}")
        first, last = result.get("train_loss_first"), result.get("train_loss_last")
        if first is not None and last is not None:
            return self.tr("Train loss {before} → {after}").format(before=f"{first:.2f}", after=f"{last:.2f}")
        return self.tr("The result is saved.")

    def _result_note(self, outcome: Outcome, history: RunHistory, resumable: bool) -> str:
        result = outcome.result
        took = steps_text(history.step) + " · " + words.format_duration(history.seconds)
        if outcome.was_successful():
            first, last = result.get("train_loss_first"), result.get("train_loss_last")
            if first is not None and last is not None:
                text = self.tr("train loss {before} → {after}")
                took += " · " + text.format(before=f"{first:.2f}", after=f"{last:.2f}")
            return took + ". " + self.tr("Lower is better; on rows it never learned, what counts is the eval loss.")
        if resumable and history.step:
            text = self.tr("It got to step {step}. Resume goes on from the newest checkpoint.")
            return text.format(step=f"{history.step:,}")
        return self.tr("Nothing was kept.") if outcome.state == "cancelled" else ""
