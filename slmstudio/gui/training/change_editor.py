"""Change a run while it learns: learning rate, and how long it lasts."""

from __future__ import annotations

from dataclasses import replace

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import QFrame, QLineEdit

from slmstudio.core.i18n import ntr, tr
from slmstudio.core.run.config import FIELDS, RunConfig
from slmstudio.core.run.history import RunHistory
from slmstudio.gui.common import theme
from slmstudio.gui.common.plan_fields import write
from slmstudio.gui.common.widgets.buttons import SecondaryButton
from slmstudio.gui.common.widgets.fields import ComboBox, named
from slmstudio.gui.common.widgets.keys import add_key
from slmstudio.gui.common.widgets.labels import show_text, text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, row_of

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
