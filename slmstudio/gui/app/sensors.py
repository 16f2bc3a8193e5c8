"""Reads the machine after the first paint, and its sensors every two seconds, off the UI thread."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from PySide6.QtCore import QCoreApplication, QObject, QTimer

from slmstudio.core import paths
from slmstudio.core.errors import UserError
from slmstudio.gui.app.header import Header
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.tasks import run_task

if TYPE_CHECKING:
    from slmstudio.core.hardware.machine import Machine
    from slmstudio.core.hardware.readings import MachineReader, MachineReading

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
        from slmstudio.gui.app.temperature import show_heat

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
