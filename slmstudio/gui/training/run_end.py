"""How a run ended: what came out, and what to do next."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QWidget

from slmstudio.core import units
from slmstudio.core.i18n import number_text, tr
from slmstudio.core.jobs.outcome import Outcome
from slmstudio.core.run.history import RunHistory
from slmstudio.core.run.run_fields import write
from slmstudio.gui.common import theme
from slmstudio.gui.common.run_texts import label, steps_text
from slmstudio.gui.common.widgets.buttons import PrimaryButton, SecondaryButton, set_primary
from slmstudio.gui.common.widgets.figures import number_text as figure_text
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.layouts import column_of, row_in

NOTE_WIDTH = 160
"""So that the sentence doesn't become a column of single words beside the buttons."""


class RunEnd(QWidget):
    """The row between the run's header and its plots.

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
        self.result = text_label("", "strong", wrap=True, name="run_result")
        self.note = text_label("", "small", wrap=True, name="run_result_note")
        theme.grow(self.note, "setMinimumWidth", NOTE_WIDTH)
        self._make_buttons()
        self._lay_out()
        self.hide()

    def _make_buttons(self) -> None:
        self.copy_button = SecondaryButton(tr("Copy details"),
                                           tr("Copy the last thing that the worker printed, for a bug report."),
                                           clicked=lambda: QGuiApplication.clipboard().setText(self._details))
        self.resume_button = PrimaryButton(tr("Resume"), tr("Continue from the newest checkpoint, in the same run."),
                                           clicked=self.resume_run)
        self.consent_button = PrimaryButton("",
                                            tr("Continue from the newest checkpoint with this value. Nothing else "
                                               "would save enough memory."),
                                            clicked=lambda: self.consent.emit(self._asked))
        self.more_button = SecondaryButton(tr("Continue with more data…"),
                                           tr("Plan another run that continues from what this one has learned, with "
                                              "other rows."), clicked=self.more_data)
        self.chat_button = PrimaryButton(tr("Chat"),
                                         tr("Talk to the trained model, side by side with its base model. No export "
                                            "needed."), clicked=self.chat_wanted)
        self.export_button = SecondaryButton(tr("Export…"),
                                             tr("Make a GGUF file of the result, to chat with it or use it in other "
                                                "programs."), clicked=self.export_wanted)

    def _lay_out(self) -> None:
        row = row_in(self, (column_of(self.result, self.note, spacing=2), 1))
        for name, button in (("copy_details", self.copy_button), ("more_data", self.more_button),
                             ("resume_run", self.resume_button), ("consent", self.consent_button),
                             ("export", self.export_button), ("chat", self.chat_button)):
            button.setObjectName(name)
            row.addWidget(button, 0, Qt.AlignmentFlag.AlignTop)

    def show_outcome(self, outcome: Outcome, history: RunHistory, resumable: bool) -> None:
        """Show how the run ended."""
        done = outcome.was_successful()
        asked = outcome.result.get("consent")
        self._asked = asked if isinstance(asked, dict) and not done else {}
        self._details = "\n".join(part for part in (str(outcome.user_error()), outcome.details) if part)
        self.result.setText(self._result_text(outcome.result, history))
        self.result.setVisible(done)
        self.note.setText(self._note(outcome, history, resumable))
        self.copy_button.setVisible(not done and bool(outcome.details))
        self.resume_button.setVisible(resumable and not self._asked)
        self.consent_button.setVisible(bool(self._asked))
        self.consent_button.setText(self._consent_text())
        self.export_button.setVisible(done)
        self.chat_button.setVisible(done)
        self.more_button.setVisible(done)
        self.show()

    def set_primary(self, on: bool) -> None:
        """Whether what to do with the result is the one thing to do next."""
        for button in (self.resume_button, self.consent_button, self.chat_button):
            set_primary(button, on)

    def set_busy(self, busy: bool) -> None:
        """A button was pressed whose work takes a moment."""
        for button in (self.resume_button, self.consent_button, self.more_button):
            button.setEnabled(not busy)

    def _consent_text(self) -> str:
        if set(self._asked) == {"max_length"}:
            return tr("Continue with {count} tokens", count=write(self._asked["max_length"]))
        values = ", ".join(f"{label(name)} {write(value)}" for name, value in self._asked.items())
        return tr("Continue with {values}", values=values)

    def _result_text(self, result: dict[str, Any], history: RunHistory) -> str:
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
        facts = [steps_text(history.step), units.format_duration(history.seconds)]
        first, last = result.get("train_loss_first"), result.get("train_loss_last")
        if first is not None and last is not None:
            facts.append(tr("train loss {before:.2f} → {after:.2f}", before=first, after=last))
        used = result.get("used_step") or history.used_step
        if isinstance(used, int) and used < history.step:
            meaning = tr("The result has the weights of step {step:,}, which did best on rows that weren't used for "
                         "training.",
                         step=used)
        else:
            meaning = tr("Lower is better. The eval loss counts, since it is measured on rows that weren't used for "
                         "training.")
        sentences = [tr("{sentence}.", sentence=" · ".join(facts)), meaning]
        return " ".join(sentences + [history.guard.sentence()] * bool(history.guard.rested))
