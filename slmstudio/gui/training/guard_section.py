"""What looks after the machine, below the progress of a run: why it rests, how to change that, and good advice; and the
same in a sentence, for a plan."""

from __future__ import annotations

import time
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import QCheckBox, QFrame, QLineEdit, QWidget

from slmstudio.core.errors import UserError
from slmstudio.core.files import number
from slmstudio.core.hardware.heat_limits import HELD_BELOW_C, hottest
from slmstudio.core.hardware.readings import MachineReading
from slmstudio.core.i18n import tr
from slmstudio.core.run.config import FIELDS, RunConfig
from slmstudio.core.run.guard_summary import HOLD, settings_of
from slmstudio.core.run.history import RunHistory
from slmstudio.core.run.run_fields import GUARDS, write
from slmstudio.gui.common import theme
from slmstudio.gui.common.run_texts import choice_label, label
from slmstudio.gui.common.widgets.buttons import IconButton, SecondaryButton
from slmstudio.gui.common.widgets.copy_text import CopyLine
from slmstudio.gui.common.widgets.fields import ComboBox, HoursEdit, named
from slmstudio.gui.common.widgets.keys import add_key
from slmstudio.gui.common.widgets.labels import plain_tip, show_text, text_label
from slmstudio.gui.common.widgets.layouts import column_in, column_of, row_in, row_of

# -- Change what looks after the machine while a run is in progress: heat, battery, hours.

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


ANYWAY: dict[str, dict[str, Any]] = {"hours": {"train_hours": ""}, "battery": {"pause_on_battery": False}}
"""The fields that let a run train all the same, by the reason for its rest."""


def is_resting(history: RunHistory) -> bool:
    """Whether the guard has stopped the run; while it holds a temperature, the run still moves."""
    return history.guard.stands_still


class GuardSection(QWidget):
    """A bar that says why the run rests, the editor, and the advice to lower a card's power limit.

    Signals:
        wanted(dict): these of the guard's fields are to be different.
    """

    wanted = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._resting: dict[str, Any] | None = None
        self._advice: dict[str, Any] | None = None
        self.editor = GuardEditor()
        self.editor.apply_wanted.connect(self.wanted)
        column_in(self, self._make_rest(), self.editor, self._make_advice())
        self.hide_all()

    def _make_rest(self) -> QWidget:
        self.rest = QFrame()
        self.rest.setObjectName("rest_bar")
        self.why = text_label("", wrap=True, name="rest_why")
        self.anyway = SecondaryButton(tr("Train now anyway"),
                                      tr("Continue now. This run won't rest for this reason again."), "small",
                                      name="train_anyway", clicked=self._train_anyway)
        row_in(self.rest, (self.why, 1), (self.anyway, 0, Qt.AlignmentFlag.AlignVCenter),
               margins=(theme.SPACE_M, theme.SPACE_XS, theme.SPACE_XS, theme.SPACE_XS))
        return self.rest

    def _make_advice(self) -> QWidget:
        self.advice = QFrame()
        self.advice.setObjectName("power_advice")
        self.advice.setProperty("bar", True)
        self.advised = text_label("", "small", wrap=True, name="power_advised")
        self.command = CopyLine(tr("Command that lowers the power limit"))
        self.command.field.setObjectName("power_command")
        close = IconButton("close", tr("Hide this advice"), name="power_advice_close", clicked=self.advice.hide)
        row_in(self.advice, (column_of(self.advised, self.command, spacing=theme.SPACE_XS), 1),
               (close, 0, Qt.AlignmentFlag.AlignTop), spacing=None,
               margins=(theme.SPACE_M, theme.SPACE_S, theme.SPACE_S, theme.SPACE_S))
        return self.advice

    def hide_all(self) -> None:
        """Another run is shown, or this one has ended."""
        self._resting = self._advice = None
        for widget in (self.rest, self.editor, self.advice):
            widget.hide()

    def update_from(self, history: RunHistory) -> None:
        """The history of the current run has more to show."""
        guard = history.guard
        resting = None if history.paused else guard.resting
        self.rest.setVisible(resting is not None)
        if resting is not None:
            self._show_rest(resting, guard.working)
        if guard.power_limit is not None and guard.power_limit is not self._advice:
            self._advice = guard.power_limit
            self.advised.setText(str(self._advice.get("message") or ""))
            self.command.set_text(str(self._advice.get("command") or ""))
            self.advice.show()

    def _show_rest(self, resting: dict[str, Any], working: float | None) -> None:
        why, held = str(resting.get("why")), number(resting, "limit_c")
        if why == HOLD and held is not None and working is not None:
            text = tr("Holding {limit:.0f} °C with a short rest after each step. It is training {percent:.0f}% of the "
                      "time.", limit=held, percent=100 * working)
        elif why == HOLD:
            text = str(resting.get("message") or "")
        else:
            text = tr("Resting since {time}. {why}",
                      time=time.strftime("%H:%M", time.localtime(number(resting, "time") or 0)),
                      why=resting.get("message") or "")
        self.why.setText(text)
        if resting is self._resting:
            return
        self._resting = resting
        kind = "" if why == HOLD else "warn"
        self.rest.setProperty("banner", kind or None)
        self.rest.setProperty("bar", not kind)
        theme.restyle(self.rest)
        self.anyway.setVisible(why in ANYWAY)
        self.anyway.setEnabled(True)

    def _train_anyway(self) -> None:
        if self._resting is not None:
            self.anyway.setEnabled(False)
            self.wanted.emit(ANYWAY[str(self._resting.get("why"))])

    def toggle_editor(self, config: RunConfig) -> None:
        """Show the editor with what holds now, or hide it."""
        if self.editor.isHidden():
            self.editor.open(config)
        else:
            self.editor.hide()


def guard_text(config: RunConfig, reading: MachineReading | None) -> str:
    """"Pauses at 90 °C. Trains between 22:00 and 06:00 only."

    Args:
        reading: of the machine, for limits that its parts decide; None before there is one.
    """
    settings = settings_of(config)
    hold = settings.mode == "hold"
    heat = hottest(reading, settings.limit_c, hold, config.device == "cpu") if reading is not None else None
    limit = settings.limit_c if settings.limit_c is not None else \
        heat.limit_c - HELD_BELOW_C * hold if heat is not None else None
    if settings.mode == "off":
        text = tr("Only warns when it gets hot.")
    elif reading is not None and heat is None:
        text = tr("This machine doesn't report its temperature, so the run never pauses for heat.")
    elif limit is None:
        text = tr("Rests when it gets too hot.")
    else:
        text = tr("Holds {limit:.0f} °C.", limit=limit) if hold else tr("Pauses at {limit:.0f} °C.", limit=limit)
    more = []
    if settings.hours is not None:
        more.append(tr("Trains between {start:%H:%M} and {end:%H:%M} only.", start=settings.hours.start,
                       end=settings.hours.end))
    if settings.pause_on_battery:
        more.append(tr("Pauses on battery."))
    return " ".join([text, *more])
