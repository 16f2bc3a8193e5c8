"""A judge: another model on this machine that reads the answers, what it looks for, and whom it is held against."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QCheckBox, QPlainTextEdit, QWidget

from slmstudio.core.i18n import ntr, tr
from slmstudio.gui.common.known_models import ModelPicker
from slmstudio.gui.common.widgets.fields import named
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.layouts import column_in

RUBRIC_LINES = 4
RUBRIC = "The better answer is right, complete and short, and is written in the language of the question."
"""In English whatever the window speaks: the judge reads it, and two evaluations should be comparable."""


class JudgeFields(QWidget):
    """A box that, once marked, shows the rest.

    Signals:
        changed: something else is chosen now.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._votes = 0
        self.wanted = named(QCheckBox(tr("Let another model judge the answers")), "evaluation_judged",
                            tip=tr("A model on this machine reads each pair of answers in both orders, and says which "
                                   "is better. It should be larger than the tuned model."))
        self.wanted.toggled.connect(self._show_state)
        self.model = ModelPicker(tr("Judge"), tr("Choose the judge…"),
                                 tr("The model that judges: a GGUF file or a model's folder. If you can, take one that "
                                    "is larger than the tuned model."))
        self.model.setObjectName("evaluation_judge")
        self.model.chosen.connect(self._show_state)
        self.rubric = named(QPlainTextEdit(), "evaluation_rubric", tr("What the judge looks for"),
                            tr("Say what makes an answer good in your case. The judge reads this."))
        self.rubric.setPlainText(RUBRIC)
        self.rubric.setFixedHeight(RUBRIC_LINES * self.rubric.fontMetrics().lineSpacing())
        self.rubric.setTabChangesFocus(True)
        self.rubric.textChanged.connect(self.changed)
        self.note = text_label("", "small", wrap=True, name="evaluation_votes")
        column_in(self, self.wanted, self.model, self.rubric, self.note)
        self._show_state()

    def set_votes(self, count: int) -> None:
        """Say against how many of the user's blind votes the judge will be held."""
        self._votes = count
        self._show_state()

    def _show_state(self) -> None:
        for widget in (self.model, self.rubric, self.note):
            widget.setVisible(self.wanted.isChecked())
        if self._votes:
            note = ntr("It also judges the answers of your {n:,} blind vote in Chat, so that you see how often it "
                       "agrees with you.", "It also judges the answers of your {n:,} blind votes in Chat, so that you "
                       "see how often it agrees with you.", self._votes)
        else:
            note = tr("Can you trust it? Afterwards, vote on some answers yourself without seeing whose they are "
                      "(“Vote blind…” above the answers). Then you see how often it agrees with you.")
        self.note.setText(note)
        self.changed.emit()

    def complete(self) -> bool:
        """Whether there is a judge, where one is wanted."""
        return not self.wanted.isChecked() or (self.model.path() is not None and bool(self.rubric_text()))

    def rubric_text(self) -> str:
        return self.rubric.toPlainText().strip()

    def path(self) -> Path | None:
        """The judge, where one is wanted."""
        return self.model.path() if self.wanted.isChecked() else None
