"""What a user can do with a run: while it works, and after it has ended."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QMenu, QMessageBox, QWidget

from slmstudio.core import units
from slmstudio.core.i18n import number_text, tr
from slmstudio.core.jobs.outcome import Outcome
from slmstudio.core.run.history import RunHistory
from slmstudio.core.run.run_fields import write
from slmstudio.gui.common import theme
from slmstudio.gui.common.dialogs import confirm
from slmstudio.gui.common.run_texts import early_stop_text, label, steps_text
from slmstudio.gui.common.widgets.buttons import (
    ButtonRow,
    IconButton,
    PrimaryButton,
    SecondaryButton,
    SegmentedControl,
)
from slmstudio.gui.common.widgets.figures import number_text as figure_text
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, fill, row_in, row_of


class RunControls(QWidget):
    """The buttons of the run's header.

    Signals:
        pause, resume, free, checkpoint, stop, end_now: a button was pressed.
    """

    pause = Signal()
    resume = Signal()
    free = Signal()
    checkpoint = Signal()
    stop = Signal()
    end_now = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._paused = self._nothing_kept = False
        self.stopping = self.freeing = self.pausing = False
        self.pause_button = SecondaryButton(tr("Pause"),
                                            tr("Stop computing after this step and keep everything in memory, to use "
                                               "the machine for something else."), name="pause",
                                            clicked=lambda: self.resume.emit() if self._paused else self._pause())
        self.more = IconButton("chevron-down", tr("Other ways to pause"), name="pause_more", clicked=self._open_menu)
        self.more.setProperty("kind", "outlined")
        self.checkpoint_button = SecondaryButton(tr("Checkpoint now"),
                                                 tr("Save a checkpoint after this step. The run can continue from it "
                                                    "after a power cut."), name="checkpoint",
                                                 clicked=self.checkpoint)
        self.stop_button = SecondaryButton(tr("Stop and keep"),
                                           tr("Finish this step, save, and end the run. What it has learned is kept."),
                                           "danger", name="stop", clicked=self._stop)
        self.end_button = SecondaryButton(tr("End now"),
                                          tr("End the process without waiting for the step. Anything after the last "
                                             "checkpoint is lost."), "danger", name="end_now", clicked=self.end_now)
        row_in(self, row_of(self.pause_button, self.more, spacing=2), self.checkpoint_button, self.end_button,
               self.stop_button)
        self._make_menu()
        self._dress()
        theme.THEME.changed.connect(self._dress)
        self.hide()

    def _make_menu(self) -> None:
        self.menu = QMenu(self)
        self.menu.setToolTipsVisible(True)
        self.pause_action = self.menu.addAction(tr("Pause"))
        self.pause_action.setToolTip(self.pause_button.toolTip())
        self.pause_action.triggered.connect(self._pause)
        self.free_action = self.menu.addAction(tr("Pause and free memory"))
        self.free_action.setToolTip(tr("Save a checkpoint and end the worker, to use the memory for something else. "
                                       "Resume continues from the checkpoint."))
        self.free_action.triggered.connect(self._free)

    def _open_menu(self) -> None:
        self.menu.popup(self.more.mapToGlobal(self.more.rect().bottomLeft()))

    def _dress(self) -> None:
        self.pause_button.setIcon(theme.icon("play" if self._paused else "pause", "ink"))
        self.stop_button.setIcon(theme.icon("stop", "bad"))

    def begin(self) -> None:
        """A run is followed from now on."""
        self.stopping = self.freeing = self.pausing = False
        self.show()

    def show_state(self, *, paused: bool, stepping: bool, nothing_kept: bool = False) -> None:
        """Offer what is possible now.

        Args:
            nothing_kept: the run hasn't learned anything yet that Stop could keep.
        """
        self._paused, self._nothing_kept = paused, nothing_kept
        self.pausing = self.pausing and not paused
        self.pause_button.setText(tr("Resume") if paused else tr("Pausing…") if self.pausing else tr("Pause"))
        self.pause_action.setVisible(not paused)
        self._dress()
        ending = self.stopping or self.freeing
        for button in (self.pause_button, self.more, self.checkpoint_button):
            button.setVisible(not ending)
            button.setEnabled(stepping and not (self.pausing and button is not self.checkpoint_button))
        # It stays, so that a second click on it doesn't hit the button that loses what was learned.
        self.stop_button.setEnabled(not ending)
        self.end_button.setVisible(ending)

    def _pause(self) -> None:
        self.pausing = True
        self._ask(self.pause)

    def _stop(self) -> None:
        if not self._nothing_kept:
            self._stop_now()
            return
        confirm(self, tr("Stop the run"), tr("Stop the run before its first step?"),
                tr("It hasn't learned anything yet, so there is nothing to keep."),
                (tr("Stop the run"), QMessageBox.ButtonRole.DestructiveRole, "stop_unkept"), self._stop_now)

    def _stop_now(self) -> None:
        self.stopping = True
        self._ask(self.stop)

    def _free(self) -> None:
        self.freeing = True
        self._ask(self.free)

    def _ask(self, signal: object) -> None:
        self.show_state(paused=self._paused, stepping=True, nothing_kept=self._nothing_kept)
        signal.emit()  # type: ignore[attr-defined]


class RunEnd(QWidget):
    """The foot of a run that has ended.

    Attributes:
        pages: answers or curves, of a run that has ended well. It is in the run's header.

    Signals:
        resume_run: continue a run that ended early, in its folder.
        consent(dict): continue with these values, which the worker asks for.
        more_data: plan a run that continues from this one's result.
        export_wanted, chat_wanted: what to do with the result.
    """

    resume_run = Signal()
    consent = Signal(object)
    more_data = Signal()
    export_wanted = Signal()
    chat_wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._details = ""
        self._asked: dict[str, Any] = {}
        self.note = text_label("", "small", wrap=True, name="run_result_note")
        self._make_buttons()
        self.pages = SegmentedControl([tr("Answers"), tr("Curves")],
                                      tooltips=[tr("What it answers now, and what to do with it."),
                                                tr("Loss, speed and sensors during the training.")], name="end_pages")
        self.pages.hide()
        buttons = ButtonRow()
        fill(buttons.box, STRETCH, self.copy_button, self.more_button, self.resume_button, self.consent_button,
             self.export_button, self.chat_button)
        column_in(self, self.note, buttons)
        self.hide()

    def _make_buttons(self) -> None:
        self.copy_button = SecondaryButton(tr("Copy details"),
                                           tr("Copy the last thing that the worker printed, for a bug report."),
                                           name="copy_details",
                                           clicked=lambda: QGuiApplication.clipboard().setText(self._details))
        self.resume_button = PrimaryButton(tr("Resume"), tr("Continue from the newest checkpoint, in the same run."),
                                           name="resume_run", clicked=self.resume_run)
        self.consent_button = PrimaryButton("",
                                            tr("Continue from the newest checkpoint with this value. Nothing else "
                                               "would save enough memory."), name="consent",
                                            clicked=lambda: self.consent.emit(self._asked))
        self.more_button = SecondaryButton(tr("Continue with more data…"),
                                           tr("Plan another run that continues from what this one has learned, with "
                                              "other rows."), name="more_data", clicked=self.more_data)
        self.chat_button = SecondaryButton(tr("Chat"),
                                           tr("Talk to the trained model, side by side with its base model. No export "
                                              "needed."), name="chat", clicked=self.chat_wanted)
        self.export_button = SecondaryButton(tr("Export…"),
                                             tr("Make a GGUF file of the result, to chat with it or use it in other "
                                                "programs."), name="export", clicked=self.export_wanted)

    def show_outcome(self, outcome: Outcome, history: RunHistory, resumable: bool) -> None:
        """Show how the run ended."""
        done = outcome.was_successful()
        asked = outcome.result.get("consent")
        self._asked = asked if isinstance(asked, dict) and not done else {}
        self._details = "\n".join(part for part in (str(outcome.user_error()), outcome.details) if part)
        self.pages.setVisible(done)
        self.note.setText(self._note(outcome, history, resumable))
        self.copy_button.setVisible(not done and bool(outcome.details))
        self.resume_button.setVisible(resumable and not self._asked)
        self.consent_button.setVisible(bool(self._asked))
        self.consent_button.setText(self._consent_text())
        self.export_button.setVisible(done)
        self.chat_button.setVisible(done)
        self.more_button.setVisible(done)
        self.show()

    def set_busy(self, busy: bool) -> None:
        """A button was pressed whose work takes a moment."""
        for button in (self.resume_button, self.consent_button, self.more_button):
            button.setEnabled(not busy)

    def _consent_text(self) -> str:
        if set(self._asked) == {"max_length"}:
            return tr("Continue with {count} tokens", count=write(self._asked["max_length"]))
        values = ", ".join(f"{label(name)} {write(value)}" for name, value in self._asked.items())
        return tr("Continue with {values}", values=values)

    def _loss_text(self, result: dict[str, Any], history: RunHistory) -> str:
        series = history.series
        before = result.get("eval_loss_before") or (series["eval_loss"].y[0] if series["eval_loss"] else None)
        after = history.eval_loss_after(result)
        if before is not None and after is not None:
            return tr("Eval loss {before} → {after}", before=figure_text(before), after=figure_text(after))
        first, last = result.get("train_loss_first"), result.get("train_loss_last")
        if first is not None and last is not None:
            return tr("Train loss {before:.2f} → {after:.2f}", before=first, after=last)
        return tr("The result is saved.")

    def _note(self, outcome: Outcome, history: RunHistory, resumable: bool) -> str:
        at = number_text(history.step)
        if outcome.was_successful():
            return self._success(outcome.result, history)
        if outcome.state == "paused":
            return tr("Paused at step {step}, and its memory is free. Resume continues from there.", step=at)
        if self._asked:
            return tr("It continues from the newest checkpoint. Longer rows are cut.")
        if resumable and history.step:
            return tr("It got to step {step}. Resume continues from the newest checkpoint.", step=at)
        return tr("Nothing was kept.") if outcome.state == "cancelled" else ""

    def _success(self, result: dict[str, Any], history: RunHistory) -> str:
        facts = [self._loss_text(result, history), steps_text(history.step), units.format_duration(history.seconds)]
        early = early_stop_text(result, history.step, history.total_steps)
        sentences = [tr("{sentence}.", sentence=" · ".join(facts)), *([early] if early else [])]
        used = result.get("used_step") or history.used_step
        if isinstance(used, int) and used < history.step:
            sentences.append(tr("The result has the weights of step {step:,}, which did best on rows that weren't used "
                                "for training.", step=used))
        if history.strength not in (None, 1.0):
            sentences.append(tr("Its adapter is applied at {share} of its strength, which did best on rows that "
                                "weren't used for training.", share=f"{history.strength:.0%}"))
        return " ".join(sentences + [history.guard.sentence()] * bool(history.guard.rested))
