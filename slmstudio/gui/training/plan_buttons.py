"""What to do with a plan: start it, queue it, show its code; and, while a run is in progress, plan another one."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QWidget

from slmstudio.core.i18n import tr
from slmstudio.gui.common.widgets.buttons import ButtonRow, PrimaryButton, SecondaryButton, keep_room
from slmstudio.gui.common.widgets.labels import show_text, text_label
from slmstudio.gui.common.widgets.layouts import column_in


class PlanButtons(QWidget):
    """The foot of the Plan card.

    Signals:
        start_wanted, queue_wanted, code_wanted: a button was pressed.
        other_wanted: show the plan of another run instead of the current one, or go back to that.
        afresh_wanted: plan from the base model again, not from a finished run.

    A button never comes up where another one was: the foot's last row stays, the row above it comes and goes, and what
    is hidden in a row keeps its room.
    """

    start_wanted = Signal()
    queue_wanted = Signal()
    code_wanted = Signal()
    other_wanted = Signal()
    afresh_wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._ready = self._running = self._showed_plan = False
        self._going_on = ""
        self.note = text_label("", "small", wrap=True, name="plan_note", selectable=True)
        self.start = PrimaryButton(tr("Start training"))
        self.queue = SecondaryButton(tr("Add to queue"),
                                     tr("Put this run in the queue. It starts when the current run ends. If nothing is "
                                        "running, press Start next."))
        self.other = SecondaryButton(tr("Plan the next run"), "", "small")
        self.afresh = SecondaryButton(tr("Plan again"), tr("Plan from the base model again."), "small")
        self.code = SecondaryButton(tr("Show the code…"),
                                    tr("Save a Python script that does the same as this plan, without SLM Studio."),
                                    "small")
        for name, button, signal in (("start", self.start, self.start_wanted), ("queue", self.queue, self.queue_wanted),
                                     ("plan_other", self.other, self.other_wanted),
                                     ("plan_afresh", self.afresh, self.afresh_wanted),
                                     ("show_code", self.code, self.code_wanted)):
            button.setObjectName(name)
            button.clicked.connect(signal)
        self.code.setEnabled(False)
        self._lay_out()
        self.show_plan(running=False)

    def _lay_out(self) -> None:
        column = column_in(self, self.note, (self.afresh, 0, Qt.AlignmentFlag.AlignLeft))
        self._using, last = ButtonRow(), ButtonRow()
        for row, buttons in ((self._using, (self.start, self.queue)), (last, (self.code, self.other))):
            for button in buttons:
                row.box.addWidget(button, 1)
            column.addWidget(row)
        keep_room(self.other)

    def set_ready(self, on: bool) -> None:
        """Whether the plan can be used as it is."""
        self._ready = on
        self.start.setEnabled(on and not self._running)
        self.queue.setEnabled(on)

    def show_plan(self, *, running: bool, going_on: str = "") -> None:
        """The plan of a coming run is shown.

        Args:
            running: another one is running, so this one can't start now.
            going_on: name of the finished run that the plan continues from.
        """
        self._running = running
        self.start.setToolTip(
            tr("Another run is training. Add this one to the queue, and it starts when that one ends.") if running else
            tr("Create the run's folder and start. The run keeps going when you close this window."))
        self._using.show()
        self.afresh.setVisible(bool(going_on))
        self._show_other(running, tr("Back to the run"), tr("Show the plan of the current run."))
        self.set_ready(self._ready)
        went_on, self._going_on = self._going_on, going_on
        if going_on:
            self.say(tr("Continues from what “{name}” learned. If you choose other rows in the Data tab, the plan "
                        "adapts.", name=going_on))
        elif went_on or not self._showed_plan:
            self.say("")
        self._showed_plan = True

    def show_run(self, note: str, *, can_plan: bool) -> None:
        """The plan of a run that has started is shown."""
        self._using.hide()
        self.afresh.hide()
        self._showed_plan = False
        self._show_other(can_plan, tr("Plan the next run"),
                         tr("Plan another run with the chosen data and model, and add it to the queue."))
        self.say(note)

    def _show_other(self, on: bool, text: str, tooltip: str) -> None:
        self.other.setVisible(on)
        self.other.setText(text)
        self.other.setToolTip(tooltip)

    def say(self, note: str) -> None:
        show_text(self.note, note)
