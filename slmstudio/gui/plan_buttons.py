"""What to do with a plan: start it, queue it, show its code; and, while a run is at work, plan another one."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from slmstudio.gui import theme
from slmstudio.gui.widgets import PrimaryButton, SecondaryButton, text_label


class PlanButtons(QWidget):
    """The foot of the Plan card.

    Signals:
        start_wanted, queue_wanted, code_wanted: a button was pressed.
        other_wanted: show the plan of another run instead of the one at work, or go back to that.
    """

    start_wanted = Signal()
    queue_wanted = Signal()
    code_wanted = Signal()
    other_wanted = Signal()

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self._ready = self._running = self._showed_plan = False
        self._going_on = ""
        self.note = text_label("", "small", wrap=True)
        self.note.setObjectName("plan_note")
        self.note.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.start = PrimaryButton(self.tr("Start training"))
        self.queue = SecondaryButton(self.tr("Add to queue"), self.tr(
            "Let this run wait; it starts by itself when the one at work has ended."))
        self.other = SecondaryButton("", "", "small")
        self.code = SecondaryButton(self.tr("Show the code…"), self.tr(
            "Save a Python script that does what this plan does, without SLM Studio."), "small")
        for name, button, signal in (("start", self.start, self.start_wanted), ("queue", self.queue, self.queue_wanted),
                                     ("plan_other", self.other, self.other_wanted),
                                     ("show_code", self.code, self.code_wanted)):
            button.setObjectName(name)
            button.clicked.connect(signal)
        self.code.setEnabled(False)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(theme.SPACE_S)
        column.addWidget(self.note)
        small, large = QHBoxLayout(), QHBoxLayout()
        for row, buttons in ((small, (self.code, self.other)), (large, (self.start, self.queue))):
            row.setSpacing(theme.SPACE_S)
            for button in buttons:
                row.addWidget(button, 1)
            column.addLayout(row)
        self.show_plan(running=False)

    def set_ready(self, on: bool) -> None:
        """Whether the plan can be used as it is."""
        self._ready = on
        self.start.setEnabled(on and not self._running)
        self.queue.setEnabled(on)

    def show_plan(self, *, running: bool, queueing: bool = False, going_on: str = "") -> None:
        """The plan of a coming run is shown.

        Args:
            running: another one is at work, so this one cannot start now.
            queueing: offer the queue even so, as others wait in it.
            going_on: name of the finished run that the plan goes on from.
        """
        self._running = running
        self.start.setToolTip(
            self.tr("A run is at work. Add this one to the queue; it starts when that one has ended.") if running else
            self.tr("Make the run's folder and start. The run goes on when this window is closed."))
        self.start.show()
        self.queue.setVisible(running or queueing)
        if running:
            self._show_other(True, self.tr("Back to the run"), self.tr("Show the plan of the run at work."))
        else:
            self._show_other(bool(going_on), self.tr("Plan afresh"), self.tr("Plan from the base model again."))
        self.set_ready(self._ready)
        went_on, self._going_on = self._going_on, going_on
        if going_on:
            self.say(self.tr("Goes on from what “{name}” learned. Choose other rows in the Data tab, and the plan "
                             "follows.").format(name=going_on))
        elif went_on or not self._showed_plan:
            self.say("")
        self._showed_plan = True

    def show_run(self, note: str, *, can_plan: bool) -> None:
        """The plan of a run that was started is shown."""
        self.start.hide()
        self.queue.hide()
        self._showed_plan = False
        self._show_other(can_plan, self.tr("Plan the next run"), self.tr(
            "Plan another run with the chosen data and model, and let it wait in the queue."))
        self.say(note)

    def _show_other(self, on: bool, text: str, tooltip: str) -> None:
        self.other.setVisible(on)
        self.other.setText(text)
        self.other.setToolTip(tooltip)

    def say(self, note: str) -> None:
        self.note.setText(note)
        self.note.setVisible(bool(note))
