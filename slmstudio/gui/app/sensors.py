"""Reads the machine after the first paint, and its GPU every two seconds, off the UI thread."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from PySide6.QtCore import QCoreApplication, QObject, QTimer

from slmstudio.gui.app.header import Header
from slmstudio.gui.app.status_bar import StatusBar
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.tasks import run_task

if TYPE_CHECKING:
    from slmstudio.core.hardware.guard import HeatWatch
    from slmstudio.core.hardware.machine import Machine
    from slmstudio.core.hardware.nvml import GpuMonitor, GpuReading

EVERY_MS = 2000
_log = logging.getLogger(__name__)


class Sensors(QObject):
    """Fills `session.machine`, the temperature chip and the GPU's memory in the status bar."""

    def __init__(self, session: Session, header: Header, status: StatusBar, parent: QObject):
        super().__init__(parent)
        self._session, self._header, self._status = session, header, status
        self._monitor: GpuMonitor | None = None
        self._watch: HeatWatch | None = None
        self._timer = QTimer(self)
        self._timer.setInterval(EVERY_MS)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._read)
        run_task(self, lambda task: _read_machine(), self._machine_read, self._failed)

    def _machine_read(self, machine: Machine) -> None:
        self._session.set_machine(machine)
        if machine.gpus:
            run_task(self, lambda task: _open_monitor(machine.gpus[0].index), self._opened, self._failed)

    def _opened(self, monitor: GpuMonitor | None) -> None:
        from slmstudio.core.hardware.guard import HeatWatch

        if monitor is None:
            return
        self._monitor, self._watch = monitor, HeatWatch()
        app = QCoreApplication.instance()
        if app is not None:
            app.aboutToQuit.connect(self.close)
        self._read()

    def close(self) -> None:
        """Let the driver go."""
        self._timer.stop()
        if self._monitor is not None:
            self._monitor.close()
            self._monitor = None

    def _read(self) -> None:
        monitor = self._monitor
        if monitor is not None:
            run_task(self, lambda task: monitor.read(), self._show, self._failed)

    def _show(self, reading: GpuReading) -> None:
        if reading.lost:
            self._header.temperature.set(self.tr("GPU lost"), "bad", reading.message)
            self._header.temperature.show()
            return
        if reading.temperature_c is not None:
            self._show_temperature(reading.temperature_c, reading.slowdown_c)
        if reading.memory_used is not None and reading.memory_total is not None:
            self._status.set_memory(reading.memory_total - reading.memory_used, reading.memory_total, gpu=True)
        self._timer.start()

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


def _open_monitor(index: int) -> GpuMonitor | None:
    from slmstudio.core.hardware.nvml import GpuMonitor

    monitor, reason = GpuMonitor.open(index)
    if monitor is None:
        _log.warning("The GPU's sensors cannot be read. %s", reason)
    return monitor
