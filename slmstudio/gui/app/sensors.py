"""Reads the machine after the first paint, and its sensors every two seconds, off the UI thread."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from PySide6.QtCore import QCoreApplication, QObject, QTimer

from slmstudio.gui.app.header import Header
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.tasks import run_task

if TYPE_CHECKING:
    from slmstudio.core.hardware.guard import HeatWatch
    from slmstudio.core.hardware.machine import Machine
    from slmstudio.core.hardware.nvml import GpuReading
    from slmstudio.core.hardware.reader import MachineReader
    from slmstudio.core.hardware.readings import MachineReading

EVERY_MS = 2000
_log = logging.getLogger(__name__)


class Sensors(QObject):
    """Fills `session.machine`, `session.reading` and the temperature chip."""

    def __init__(self, session: Session, header: Header, parent: QObject):
        super().__init__(parent)
        self._session, self._header = session, header
        self._reader: MachineReader | None = None
        self._watch: HeatWatch | None = None
        self._timer = QTimer(self)
        self._timer.setInterval(EVERY_MS)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._read)
        run_task(self, lambda task: _read_machine(), self._machine_read, self._failed)

    def _machine_read(self, machine: Machine) -> None:
        self._session.set_machine(machine)
        run_task(self, lambda task: _open_reader(bool(machine.gpus)), self._opened, self._failed)

    def _opened(self, reader: MachineReader) -> None:
        from slmstudio.core.hardware.guard import HeatWatch

        self._reader, self._watch = reader, HeatWatch()
        app = QCoreApplication.instance()
        if app is not None:
            app.aboutToQuit.connect(self.close)
        self._read()

    def close(self) -> None:
        """Let the driver go."""
        self._timer.stop()
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _read(self) -> None:
        reader = self._reader
        if reader is not None:
            run_task(self, lambda task: reader.read(), self._show, self._failed)

    def _show(self, reading: MachineReading) -> None:
        self._session.set_reading(reading)
        if reading.gpus:
            self._show_card(reading.gpus[0])
        self._timer.start()

    def _show_card(self, card: GpuReading) -> None:
        if card.lost:
            self._header.temperature.set(self.tr("GPU lost"), "bad", card.message)
            self._header.temperature.show()
        elif card.temperature_c is not None:
            self._show_temperature(card.temperature_c, card.slowdown_c)

    def _show_temperature(self, degrees: int, slowdown: int | None) -> None:
        watch = self._watch
        assert watch is not None
        watch.update(degrees, slowdown)
        text = self.tr("{degrees} °C").format(degrees=degrees)
        if watch.warning:
            self._header.temperature.set(text, "warn", watch.sentence(degrees))
        else:
            self._header.temperature.set(text, "plain", self.tr(
                "Temperature of the GPU. A warning comes at {limit} °C.").format(limit=watch.warn_c))
        self._header.temperature.show()

    def _failed(self, error: Exception) -> None:
        _log.warning("The machine's sensors cannot be read: %s", error)


def _read_machine() -> Machine:
    from slmstudio.core.hardware.machine import read_machine

    return read_machine()


def _open_reader(with_gpus: bool) -> MachineReader:
    from slmstudio.core.hardware.nvml import open_all
    from slmstudio.core.hardware.reader import MachineReader

    monitors, reason = open_all() if with_gpus else ([], "")
    if reason:
        _log.warning("The GPU's sensors can't be read. %s", reason)
    return MachineReader(monitors)
