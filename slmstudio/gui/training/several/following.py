"""Keeps the dialog of several machines in step with the run that waits for them."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QWidget

from slmstudio.core.errors import UserError
from slmstudio.core.jobs.job import Job
from slmstudio.core.jobs.outcome import Outcome
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
        self._folder: Path | None = None
        self._wanted, self._waits, self._offered = 0, False, False
        self._told: dict[str, Any] = {}
        self.dialog: MachinesDialog | None = None

    def open(self) -> None:
        """Ask, or show the run that waits."""
        if self.dialog is None:
            self.dialog = MachinesDialog(self._parent)
            self.dialog.start_wanted.connect(self.start_wanted)
            self.dialog.stop_wanted.connect(self.stop_wanted)
        if self._invitation is not None and self._waits:
            self._show_waiting(self.dialog, self._invitation)
        else:
            self.dialog.ask()
        self.dialog.open()

    def follow(self, job: Job, config: RunConfig) -> None:
        """Another run is shown in the tab."""
        self._invitation, self._told, self._folder = None, {}, job.folder
        self._wanted, self._waits, self._offered = config.nodes, config.nodes > 1, self._is_open()
        if self._waits:
            self._read()
            if self.dialog is not None and self._is_open() and self._invitation is not None:
                self._show_waiting(self.dialog, self._invitation)

    def _is_open(self) -> bool:
        return self.dialog is not None and self.dialog.isVisible()

    def _read(self) -> None:
        assert self._folder is not None
        with contextlib.suppress(UserError):  # the run itself says so
            self._invitation = invitation.read(self._folder)

    def _show_waiting(self, dialog: MachinesDialog, invited: invitation.Invitation) -> None:
        dialog.show_waiting(invited, self._wanted)
        if self._told:
            dialog.show_machines(self._told)

    def replayed(self, history: RunHistory) -> None:
        """This has happened before the run was followed."""
        self._told = history.machines

    def update_from(self, history: RunHistory) -> None:
        """The run has more to tell. One that begins to wait is shown once: what to type has an id of this start."""
        if not self._waits or not history.machines or history.machines is self._told:
            return
        self._told = history.machines
        self._read()
        waits = self._told.get("joined") != self._told.get("wanted")
        if self._is_open() and self.dialog is not None and self._invitation is not None:
            self._show_waiting(self.dialog, self._invitation)
        elif waits and not self._offered and self._parent.isVisible():
            self.open()
        self._offered = True

    def ended(self, outcome: Outcome) -> None:
        """The run has ended; where the dialog still waits, it says why."""
        waited, self._waits = self._waits, False
        if waited and self.dialog is not None and self._is_open():
            if outcome.was_successful() or outcome.state == "cancelled":
                self.dialog.close()
            else:
                self.dialog.show_error(outcome.user_error())

    def failed(self, error: Exception) -> bool:
        """No run could be made. Returns whether the dialog is open and shows why."""
        if self.dialog is None or not self._is_open():
            return False
        self.dialog.show_error(error)
        return True
