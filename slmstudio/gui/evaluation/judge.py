"""A judge: another model on this machine that reads the answers, what it looks for, and whom it is held against."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QCheckBox, QPlainTextEdit, QVBoxLayout, QWidget

from slmstudio.core.i18n import ntr, tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.evaluation.models import ModelPicker

RUBRIC_LINES = 4


class JudgeFields(QWidget):
    """A box that, once marked, shows the rest.

    Signals:
        changed: something else is chosen now.
    """

    changed = Signal()

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self._votes = 0
        self.wanted = QCheckBox(tr("Let another model judge the answers"))
        self.wanted.setObjectName("evaluation_judged")
        self.wanted.setToolTip(tr("A model on this machine reads each pair of answers, in both orders, and says which "
                                  "is better. It should be larger than the one that was tuned."))
        self.wanted.toggled.connect(self._show_state)
        self.model = ModelPicker(tr("Judge"), tr("Choose the judge…"),
                                 tr("The model that judges: a GGUF file or a model's folder, larger than the one that "
                                    "was tuned if you can."), keeps=True)
        self.model.setObjectName("evaluation_judge")
        self.model.picked.connect(self._show_state)
        self.rubric = QPlainTextEdit()
        self.rubric.setObjectName("evaluation_rubric")
        self.rubric.setAccessibleName(tr("What the judge looks for"))
        self.rubric.setToolTip(tr("Say what makes an answer good in your case; the judge reads it."))
        self.rubric.setPlainText(tr("The better answer is right, complete and short, and is written in the language of "
                                    "the question."))
        self.rubric.setFixedHeight(RUBRIC_LINES * self.rubric.fontMetrics().lineSpacing())
        self.rubric.setTabChangesFocus(True)
        self.rubric.textChanged.connect(self.changed)
        self.note = text_label("", "small", wrap=True)
        self.note.setObjectName("evaluation_votes")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(theme.SPACE_S)
        for widget in (self.wanted, self.model, self.rubric, self.note):
            column.addWidget(widget)
        self._show_state()

    def set_votes(self, count: int) -> None:
        """Say against how many of the user's blind votes the judge will be held."""
        self._votes = count
        self._show_state()

    def _show_state(self) -> None:
        for widget in (self.model, self.rubric, self.note):
            widget.setVisible(self.wanted.isChecked())
        self.note.setText(tr("It judges your {votes} from Chat too, so that you see how far it agrees with you.", votes=ntr("{n:,} blind vote", "{n:,} blind votes", self._votes)) if self._votes else tr("Can it be trusted? Vote on some of the answers yourself afterwards, without seeing whose they are (Vote blind, above the answers): then you see how far it agrees with you."))
        self.changed.emit()

    def complete(self) -> bool:
        """Whether there is a judge, where one is wanted."""
        return not self.wanted.isChecked() or (self.model.path() is not None and bool(self.rubric_text()))

    def rubric_text(self) -> str:
        return self.rubric.toPlainText().strip()

    def path(self) -> Path | None:
        """The judge, where one is wanted."""
        return self.model.path() if self.wanted.isChecked() else None
