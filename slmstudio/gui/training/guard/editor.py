"""Change what looks after the machine while a run is in progress: heat, battery, hours."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import QCheckBox, QFrame, QLineEdit

from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.run.config import FIELDS, RunConfig
from slmstudio.core.run.fields.choices import GUARDS
from slmstudio.gui.common import theme
from slmstudio.gui.common.plan_fields import choice_label, label, write
from slmstudio.gui.common.widgets.buttons import SecondaryButton
from slmstudio.gui.common.widgets.fields import ComboBox, named
from slmstudio.gui.common.widgets.hours import HoursEdit
from slmstudio.gui.common.widgets.keys import add_key
from slmstudio.gui.common.widgets.labels import plain_tip, show_text, text_label
from slmstudio.gui.common.widgets.layouts import column_in, row_of

LIMIT_WIDTH = 96


class GuardEditor(QFrame):
    """The guard's fields below the run's progress. What isn't touched isn't sent.

    Signals:
        apply_wanted(dict): those of the guard's fields that are to be different.
    """

    apply_wanted = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("guard_editor")
        self.setProperty("bar", True)
        self._config: RunConfig | None = None
        self.mode = ComboBox()
        self.mode.setObjectName("guard_mode")
        for value in GUARDS.words:
            self.mode.addItem(choice_label("heat_guard", value), value)
        self.limit = named(QLineEdit(placeholderText=tr("automatic")), "guard_limit")
        theme.grow(self.limit, "setFixedWidth", LIMIT_WIDTH)
        self.limit.returnPressed.connect(self._apply)
        self.mode.currentIndexChanged.connect(lambda: self.limit.setEnabled(self.mode.currentData() != "off"))
        self.battery = QCheckBox(label("pause_on_battery"))
        self.battery.setObjectName("guard_battery")
        self.hours = HoursEdit(tr("Only between"), in_one_line=True)
        self.hours.check.setObjectName("guard_hours")
        for name, widget in (("heat_guard", self.mode), ("heat_limit_c", self.limit),
                             ("pause_on_battery", self.battery), ("train_hours", self.hours.check)):
            widget.setAccessibleName(label(name))
            widget.setToolTip(plain_tip(FIELDS[name].help))
        self.problem = text_label("", "small", wrap=True, name="guard_problem", tone="bad")
        self._lay_out()
        self.hide()

    def _lay_out(self) -> None:
        self.apply = SecondaryButton(tr("Apply"), tr("Takes effect now, and whenever this run is resumed."), "small",
                                     name="guard_apply", clicked=self._apply)
        cancel = SecondaryButton(tr("Cancel"), tr("Change nothing."), "small", name="guard_cancel", clicked=self.hide)
        add_key(self, QKeySequence(Qt.Key.Key_Escape), self.hide, inside=True)
        column = column_in(self, margins=(theme.SPACE_M, theme.SPACE_S, theme.SPACE_M, theme.SPACE_S))
        for widgets in ((self.mode, text_label(tr("Limit"), "small"), self.limit, text_label("°C", "small"), None),
                        (self.hours, None), (self.battery, None, cancel, self.apply)):
            row = row_of()
            for widget in widgets:
                row.addStretch(1) if widget is None else row.addWidget(widget)
            column.addLayout(row)
        column.addWidget(self.problem)

    def open(self, config: RunConfig) -> None:
        """Show what holds now.

        Args:
            config: the run's, with what was changed since.
        """
        self._config = config
        self.mode.setCurrentIndex(self.mode.findData(config.heat_guard))
        self.limit.setText(write(config.heat_limit_c))
        self.battery.setChecked(config.pause_on_battery)
        self.hours.set_value(config.train_hours)
        self.show_problem("")
        self.show()
        self.mode.setFocus()

    def show_problem(self, text: str) -> None:
        """Say why it can't be as it was typed."""
        show_text(self.problem, text)
        self.apply.setEnabled(True)

    def refused(self, error: UserError) -> None:
        """What was asked for isn't possible."""
        self.show_problem(" ".join(f"{label(problem.field or '')}: {problem.message}" for problem in error.problems)
                          or str(error))

    def _apply(self) -> None:
        assert self._config is not None
        typed: dict[str, Any] = {
            "heat_guard": self.mode.currentData(), "heat_limit_c": self.limit.text().strip(),
            "pause_on_battery": self.battery.isChecked(), "train_hours": self.hours.value()}
        values = {name: value for name, value in typed.items() if value != _as_typed(getattr(self._config, name))}
        if not values:
            self.hide()
            return
        self.apply.setEnabled(False)
        self.apply_wanted.emit(values)


def _as_typed(value: Any) -> Any:
    return value if isinstance(value, bool) else write(value)
