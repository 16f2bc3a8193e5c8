"""Fills the chips of the header, off the UI thread: reads the machine after the first paint and its sensors every two
seconds, and tries the network lock."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from PySide6.QtCore import QCoreApplication, QObject, QTimer

from slmstudio.core import paths
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.gui.app.frame import Header
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.tasks import run_task

if TYPE_CHECKING:
    from slmstudio.core.hardware.machine import Machine
    from slmstudio.core.hardware.readings import MachineReader, MachineReading
    from slmstudio.core.lock.proof import Proof

EVERY_MS = 2000
_log = logging.getLogger(__name__)


class Sensors(QObject):
    """Fills `session.machine`, `session.reading` and the temperature chip."""

    def __init__(self, session: Session, header: Header, parent: QObject):
        super().__init__(parent)
        self._session, self._header = session, header
        self._timer = QTimer(self, interval=EVERY_MS, singleShot=True, timeout=self._read)
        session.job_changed.connect(self._show_heat)
        session.plan_changed.connect(self._show_heat)
        self._show_heat()
        run_task(self, lambda task: _read_machine(), self._machine_read, self._failed)

    def _machine_read(self, machine: Machine) -> None:
        self._session.set_machine(machine)
        known = self._session.sensors
        run_task(self, lambda task: known or _open_reader(machine), self._opened, self._failed)

    def _opened(self, reader: MachineReader) -> None:
        self._session.sensors = reader
        app = QCoreApplication.instance()
        if app is not None:
            app.aboutToQuit.connect(self.close)
        self._read()

    def close(self) -> None:
        """Let the driver go."""
        self._timer.stop()
        if self._session.sensors is not None:
            self._session.sensors.close()
            self._session.sensors = None

    def _read(self) -> None:
        reader = self._session.sensors
        if reader is not None:
            run_task(self, lambda task: reader.read(), self._show, self._failed)

    def _show(self, reading: MachineReading) -> None:
        self._session.set_reading(reading)
        self._show_heat()
        self._timer.start()

    def _show_heat(self) -> None:
        """The chip, by the guard of the run at work, else by that of the planned one."""
        from slmstudio.core.hardware.heat.guard import Settings
        from slmstudio.core.run.guard_summary import settings_of
        from slmstudio.gui.app.readings import show_heat

        session = self._session
        config = session.job.config if session.job is not None and session.job.config is not None else session.plan
        if session.reading is not None:
            show_heat(self._header.temperature, session.reading, settings_of(config) if config else Settings(),
                      config is not None and config.device == "cpu")

    def _failed(self, error: Exception) -> None:
        _log.warning("The machine's sensors cannot be read: %s", error)


def _read_machine() -> Machine:
    from slmstudio.core.hardware.machine import read_machine

    return read_machine()


def _open_reader(machine: Machine) -> MachineReader:
    from slmstudio.core.hardware.machine import open_as_torch_counts
    from slmstudio.core.hardware.readings import MachineReader

    monitors, reason = open_as_torch_counts([gpu.uuid for gpu in machine.gpus]) if machine.gpus else ([], "")
    if reason:
        _log.warning("The GPU's sensors can't be read. %s", reason)
    try:
        runs = paths.runs_dir()
    except UserError:  # the part that failed reports it itself
        runs = None
    return MachineReader(monitors, runs)


# -- The network chip: green only where the lock was tried at this start of the program, and held.

_network_lock_log = logging.getLogger(__name__)


class NetworkLock(QObject):
    """Tries the lock once, off the UI thread, and shows in the header what came of it."""

    def __init__(self, session: Session, header: Header, parent: QObject):
        super().__init__(parent)
        self._session, self._header = session, header
        if session.lock_proof is not None:  # of the window before; it is tried again for its sentences
            self.show_proof(session.lock_proof)
        run_task(self, lambda task: _prove(), self.show_proof, self._failed)

    def show_proof(self, proof: Proof) -> None:
        """Show what was tried."""
        self._session.lock_proof = proof
        if proof.enforced:
            self._header.network.set(tr("Locked"), "ok", self._locked(proof))
        else:
            self._header.network.set(tr("Not enforced"), "warn", self._open(proof.reason))

    def _failed(self, error: Exception) -> None:
        _network_lock_log.warning("The network lock cannot be tried: %s", error)
        self._header.network.set(tr("Not enforced"), "warn", self._open(str(error)))

    def _locked(self, proof: Proof) -> str:
        tried = "\n".join(tr("• {what}: {answer}", what=each.what, answer=each.gave)
                          for each in proof.attempts if each.network)
        files = tr("It also can't read any files except its job's own.") if proof.files else \
            tr("It can read other files: this kernel has no Landlock.")
        return tr("No process that trains, exports, evaluates or chats can reach the network: the system blocks it. "
                  "This was tested when the program started, and nothing got through:\n{tried}\n{files}\nDownloads "
                  "that you ask for, and this window itself, aren't locked.", tried=tried, files=files)

    def _open(self, reason: str) -> str:
        return tr("Training, export and chat run with the model hub's offline switches on and its telemetry off, and "
                  "this window opens no connection. But the system doesn't stop a process from using the network: "
                  "{reason}\nTo be certain, unplug the cable or block the program in your firewall.", reason=reason)


def _prove() -> Proof:
    from slmstudio.core.lock.proof import prove

    return prove()
