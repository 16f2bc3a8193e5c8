"""The machine's state in the header and the status bar, read from a fake card through the real pynvml."""

from __future__ import annotations

import pytest
from PySide6.QtWidgets import QLabel

from slmstudio.gui.app.main_window import MainWindow
from slmstudio.gui.app.sensors import Sensors
from slmstudio.gui.common.session import JobStatus, Session

GIB = 1024**3


@pytest.fixture
def window(qtbot, session: Session) -> MainWindow:
    shown = MainWindow(session)
    qtbot.addWidget(shown)
    shown.show()
    return shown


def test_temperature_and_memory_of_the_card(qtbot, fake_nvml, session: Session, window: MainWindow):
    users = fake_nvml.users()
    sensors = Sensors(session, window.header, window)
    sensors._timer.setInterval(10)
    chip = window.header.temperature
    qtbot.waitUntil(lambda: chip.text() == "46 °C")
    assert (chip.kind, chip.isVisible()) == ("plain", True)
    assert window.findChild(QLabel, "chip_device").text() == "RTX 3060 · 12 GB"
    assert window.findChild(QLabel, "status_memory").text() == "GPU memory: 11.2 GB of 12 free"
    fake_nvml.set(temperature=91)
    qtbot.waitUntil(lambda: chip.text() == "91 °C")
    assert chip.kind == "warn"
    assert "95 °C" in chip.toolTip()
    fake_nvml.set(temperature=70, memory_used=8 * 1024**3)
    qtbot.waitUntil(lambda: chip.kind == "plain")
    assert window.findChild(QLabel, "status_memory").text() == "GPU memory: 4 GB of 12 free"
    fake_nvml.set(every_query="GPU_IS_LOST")
    qtbot.waitUntil(lambda: chip.text() == "GPU lost")
    assert "Restart the machine" in chip.toolTip()
    sensors.close()
    assert fake_nvml.users() == users


def test_without_a_card(qtbot, fake_nvml, session: Session, window: MainWindow):
    fake_nvml.remove_driver()
    Sensors(session, window.header, window)
    qtbot.waitUntil(lambda: window.findChild(QLabel, "chip_device").text() == "no NVIDIA GPU")
    assert window.header.temperature.isHidden()
    assert window.findChild(QLabel, "status_memory").text().startswith("Memory: ")


def test_what_is_free_is_followed_while_no_job_is_at_work(qtbot, fake_nvml, session: Session, window: MainWindow):
    """A plan made an hour after the start counts with the memory of now."""
    sensors = Sensors(session, window.header, window)
    sensors._timer.setInterval(10)
    qtbot.waitUntil(lambda: session.reading is not None)
    with qtbot.waitSignal(session.memory_changed):
        fake_nvml.set(memory_used=8 * GIB)
    assert session.machine.gpus[0].memory_free == 4 * GIB
    session.set_job(JobStatus("training", 1, 10))
    fake_nvml.set(memory_used=10 * GIB)
    qtbot.waitUntil(lambda: session.reading.gpus[0].memory_used == 10 * GIB)
    assert session.machine.gpus[0].memory_free == 4 * GIB
    with qtbot.waitSignal(session.memory_changed):
        session.set_job(None)
    assert session.machine.gpus[0].memory_free == 2 * GIB
    sensors.close()
