"""Keeps the dialog of several machines in step with the run that waits for them."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QWidget

from slmstudio.core.errors import UserError
from slmstudio.core.jobs.job import Job, Outcome
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.history import RunHistory
from slmstudio.core.run.launch import invitation
from slmstudio.gui.training.several.machines import MachinesDialog


class SeveralMachines(QObject):
    """Opens the dialog, and shows there what comes of it.

    Signals:
        start_wanted(int, str, int): as the dialog's.
        stop_wanted: the run that waits is to end.
    """

    start_wanted = Signal(int, str, int)
    stop_wanted = Signal()

    def __init__(self, parent: QWidget):
        super().__init__(parent)
        self._parent = parent
        self._invitation: invitation.Invitation | None = None
        self._wanted, self._waits = 0, False
        self.dialog: MachinesDialog | None = None

    def open(self) -> None:
        """Ask, or show the run that waits."""
        if self.dialog is None:
            self.dialog = MachinesDialog(self._parent)
            self.dialog.start_wanted.connect(self.start_wanted)
            self.dialog.stop_wanted.connect(self.stop_wanted)
        if self._invitation is not None and self._waits:
            self.dialog.show_waiting(self._invitation, self._wanted)
        else:
            self.dialog.ask()
        self.dialog.open()

    def follow(self, job: Job, config: RunConfig) -> None:
        """Another run is shown in the tab."""
        self._invitation, self._wanted, self._waits = None, config.nodes, config.nodes > 1
        if config.nodes > 1:
            try:
                self._invitation = invitation.read(job.folder)
            except UserError:
                return  # the run itself says so
            if self.dialog is not None and self.dialog.isVisible():
                self.dialog.show_waiting(self._invitation, config.nodes)

    def update_from(self, history: RunHistory) -> None:
        """The run has more to tell."""
        if self.dialog is None or self._invitation is None or not history.machines:
            return
        if history.machines.get("address") == self._invitation.address:
            self.dialog.show_machines(history.machines)

    def ended(self, outcome: Outcome) -> None:
        """The run has ended; where the dialog still waits, it says why."""
        waited, self._waits = self._waits, False
        if waited and self.dialog is not None and self.dialog.isVisible():
            if outcome.was_successful() or outcome.state == "cancelled":
                self.dialog.close()
            else:
                self.dialog.show_error(outcome.user_error())

    def failed(self, error: Exception) -> None:
        """No run could be made."""
        if self.dialog is not None and self.dialog.isVisible():
            self.dialog.show_error(error)
