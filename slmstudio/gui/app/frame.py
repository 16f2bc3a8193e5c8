"""What is around the tabs: the header with its chips, which read the machine off the UI thread, and the status bar."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from PySide6.QtCore import QCoreApplication, QObject, QPointF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QPainter, QPainterPath, QPaintEvent, QPen, QResizeEvent
from PySide6.QtWidgets import QFrame, QLabel, QSizePolicy, QTabBar, QWidget

from slmstudio.core import paths, units
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.tasks import run_task
from slmstudio.gui.common.widgets.buttons import IconButton
from slmstudio.gui.common.widgets.fields import named
from slmstudio.gui.common.widgets.labels import Chip, ElidedLabel, plain_tip, text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, fill, row_in, row_of
from slmstudio.gui.common.widgets.progress import ProgressBar

if TYPE_CHECKING:
    from slmstudio.core.hardware.machine import Machine
    from slmstudio.core.hardware.readings import MachineReader, MachineReading
    from slmstudio.core.lock.proof import Proof

# -- What is around the tabs: the header with the program's name, the tabs and the machine's state, and the status
# bar.

NARROW = 800
"""Below this width, with text of the usual size, there is room for the tabs and the settings alone."""
TICK_WIDTH = 20


class Logo(QWidget):
    """The program's mark: a loss that falls. resources/icons/slmstudio.svg is the same drawing."""

    def __init__(self, size: int = 18):
        super().__init__()
        self.setFixedSize(size, size)
        theme.THEME.changed.connect(self.update)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.scale(self.width() / 64, self.height() / 64)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.colour("accent"))
        painter.drawRoundedRect(0, 0, 64, 64, 16, 16)
        curve = QPainterPath(QPointF(14, 19))
        curve.cubicTo(20, 38, 30, 45, 50, 46)
        painter.setPen(QPen(theme.colour("on_accent"), 7, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawPath(curve)


class Header(QFrame):
    """Logo, tabs and chips.

    Signals:
        tab_chosen(int): the user chose a tab, or `set_current` did.
        settings_wanted: the gear was pressed.
    """

    tab_chosen = Signal(int)
    settings_wanted = Signal()

    def __init__(self, labels: list[str], parent: QWidget | None = None):
        super().__init__(parent)
        self.setObjectName("header")
        theme.grow(self, "setFixedHeight", theme.HEADER_HEIGHT)
        brand = text_label("SLM Studio", name="brand")
        self.tabs = named(QTabBar(), "tabs", tr("Steps"))
        self.tabs.setDrawBase(False)
        self.tabs.setExpanding(False)
        self.tabs.setElideMode(Qt.TextElideMode.ElideNone)
        self.tabs.setUsesScrollButtons(False)
        self.tabs.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        for number, label in enumerate(labels, 1):
            self.tabs.setTabToolTip(self.tabs.addTab(label), tr("{tab} (Ctrl+{number})", tab=label, number=number))
            self.set_done(number - 1, False)
        self.tabs.currentChanged.connect(self.tab_chosen)
        theme.THEME.changed.connect(self._mark_again)
        self.device, self.temperature, self.network = Chip(), Chip(), Chip(tr("Offline"))
        self.device.setObjectName("chip_device")
        self.temperature.setObjectName("chip_temperature")
        self.network.setObjectName("chip_network")
        for chip in (self.device, self.temperature):
            chip.hide()
        gear = IconButton("settings", tr("Settings (Ctrl+,)"), name="open_settings", clicked=self.settings_wanted)
        row = row_in(self, Logo(), brand, theme.SPACE_M, self.tabs, STRETCH,
                     margins=(theme.SPACE_L, 0, theme.SPACE_M, 0))
        self._brand, self._chips = brand, QWidget()
        row_in(self._chips, self.device, self.temperature, self.network)
        fill(row, self._chips, gear)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Where there is little room, the tabs and the settings come first."""
        super().resizeEvent(event)
        for widget in (self._brand, self._chips):
            widget.setVisible(event.size().width() >= theme.scaled(NARROW))

    def set_done(self, index: int, done: bool) -> None:
        """Put the tick behind a tab's name, or take it away."""
        old = self.tabs.tabButton(index, QTabBar.ButtonPosition.RightSide)
        if old is None or done != bool(old.property("tick")):
            self._mark(index, done)

    def _mark_again(self) -> None:
        """The bar gives a mark the size that it has when it comes."""
        for index in range(self.tabs.count()):
            mark = self.tabs.tabButton(index, QTabBar.ButtonPosition.RightSide)
            self._mark(index, bool(mark.property("tick")))

    def _mark(self, index: int, done: bool) -> None:
        side = QTabBar.ButtonPosition.RightSide
        old = self.tabs.tabButton(index, side)
        # Every tab ends with a label of one width, so that no tab moves when another gets its tick.
        label = text_label("✓" if done else "")
        label.setProperty("tick", done)
        label.setAccessibleName(tr("done") if done else "")
        label.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        theme.grow(label, "setFixedWidth", TICK_WIDTH)
        self.tabs.setTabButton(index, side, label)
        if old is not None:
            old.deleteLater()

    def minimumSizeHint(self) -> QSize:
        return QSize(self.tabs.sizeHint().width(), theme.scaled(theme.HEADER_HEIGHT))


# -- The line at the bottom: the running job, and what the machine's sensors say.

BAR_WIDTHS = (40, 180)


class _Gauges(ElidedLabel):
    """A line whose tooltip says more than the line.

    Attributes:
        tip: set it before the text.
    """

    tip = ""

    def _update_tooltip(self) -> None:
        self.setToolTip(plain_tip(self.tip))


class StatusBar(QFrame):
    """Shows `session.job`, and at the right end `session.reading`."""

    def __init__(self, session: Session):
        super().__init__()
        self.setObjectName("status_bar")
        theme.grow(self, "setFixedHeight", theme.STATUS_HEIGHT)
        self._session = session
        self.job = ElidedLabel(tr("Ready"), "small", Qt.TextElideMode.ElideRight, name="status_job")
        self.bar = ProgressBar()
        self.bar.setMinimumWidth(BAR_WIDTHS[0])
        self.bar.setMaximumWidth(BAR_WIDTHS[1])
        self.bar.setAccessibleName(tr("Progress of the running job"))
        self.progress = text_label("", "small", name="status_progress")
        self.right = text_label("", "small", name="status_right")
        self.gauges = named(_Gauges("", "small", Qt.TextElideMode.ElideRight), "status_gauges",
                            tr("What the machine's sensors say"))
        self.gauges.hide()
        self.server = text_label("", "small", name="status_server")
        self.server.setToolTip(tr("The server that other programs can talk to. Stop it in the Results tab."))
        row = row_in(self, spacing=theme.SPACE_L, margins=(theme.SPACE_L, 0, theme.SPACE_L, 0))
        fill(row, self.job, (self.bar, 9), self.progress, STRETCH, self.server,
             row_of(self.gauges, self.right, spacing=theme.SPACE_XS))
        session.job_changed.connect(self._show_job)
        session.reading_changed.connect(self._show_reading)
        session.job_changed.connect(self._show_server)
        self._show_server()
        self._show_job()

    def _show_job(self) -> None:
        job = self._session.job
        self.job.setText(job.name if job else tr("Ready"))
        self.bar.setVisible(job is not None)
        self.progress.setVisible(job is not None)
        self._show_right()
        if job is None:
            return
        self.bar.setRange(0, 1000 if job.total else 0)
        self.bar.setValue(round(1000 * job.done / job.total) if job.total else 0)
        self.progress.setText(job.text or self._progress_text())
        _set_tone(self.progress, "warn" if job.alarming else "")

    def _show_right(self) -> None:
        job = self._session.job
        right = job.right if job else "" if self._session.reading else tr("No run")
        dot = "· " if right and not self.gauges.isHidden() else ""
        self.right.setText(dot + right)
        self.right.setVisible(bool(right))

    def _show_server(self) -> None:
        self.server.setText(tr("Serving {server}", server=self._session.server))
        self.server.setVisible(bool(self._session.server))

    def _progress_text(self) -> str:
        job = self._session.job
        if job is None or not job.total:
            return ""
        percent = tr("{percent}%", percent=int(100 * job.done / job.total))
        if job.seconds_left is None:
            return percent
        return tr("{percent} · {duration} left", percent=percent, duration=units.format_about(job.seconds_left))

    def _show_reading(self) -> None:
        reading = self._session.reading
        if reading is None:
            return
        from slmstudio.gui.app import readings

        self.gauges.tip = readings.tip(reading)
        self.gauges.setText(readings.gauges(reading))
        self.gauges.setAccessibleDescription(self.gauges.tip)
        _set_tone(self.gauges, "bad" if any(card.lost for card in reading.gpus) else
                  "warn" if any(map(readings.trouble, reading.gpus)) else "")
        self.gauges.setVisible(bool(self.gauges.text()))
        self._show_right()


def _set_tone(label: QLabel, tone: str) -> None:
    if label.property("tone") != tone:
        label.setProperty("tone", tone)
        theme.restyle(label)


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
        from slmstudio.core.hardware.heat_guard import Settings
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
