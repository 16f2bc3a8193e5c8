"""The machine's state in the header and the status bar, read from a fake card through the real pynvml."""

from __future__ import annotations

from dataclasses import replace

import pytest
from PySide6.QtWidgets import QLabel
from support.window import text

from slmstudio.core.hardware import guidance
from slmstudio.core.hardware.heat_guard import Settings
from slmstudio.core.hardware.linux_sensors import Battery
from slmstudio.core.hardware.nvml import GpuReading
from slmstudio.core.hardware.readings import CpuReading, MachineReading
from slmstudio.core.lock import seccomp
from slmstudio.core.lock.proof import Attempt, Proof
from slmstudio.core.lock.worker_lock import LockState
from slmstudio.gui.app import frame, readings
from slmstudio.gui.app.main_window import MainWindow
from slmstudio.gui.app.readings import show_heat
from slmstudio.gui.common.session import JobStatus, Session
from slmstudio.gui.common.widgets.labels import Chip

GIB = 1024**3
CARD = GpuReading(0, "NVIDIA GeForce RTX 3060", temperature_c=46, slowdown_c=95, power_w=168.0, power_limit_w=170.0,
                  memory_used=8 * GIB, memory_total=12 * GIB)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame, "EVERY_MS", 10)


def test_temperature_and_memory_of_the_card(qtbot, fake_nvml, session: Session, window: MainWindow):
    users = fake_nvml.users()
    reader = frame.Sensors(session, window.header, window)
    chip = window.header.temperature
    qtbot.waitUntil(lambda: chip.text() == "46 °C")
    assert (chip.kind, chip.isVisible()) == ("plain", True)
    assert text(window, "chip_device") == "RTX 3060 · 12 GB"
    gauges = window.findChild(QLabel, "status_gauges")
    assert gauges.isVisible() and gauges.text() == "819 MB of 12 GB · 17 W"
    fake_nvml.set(temperature=86)
    qtbot.waitUntil(lambda: chip.text() == "86 °C")
    assert chip.kind == "warn", "5 °C below the guard's limit"
    assert chip.toolTip().splitlines() == [
        "The GPU is at 86 °C; it slows itself down at 95 °C.", "Training pauses at 90 °C."]
    fake_nvml.set(temperature=90)
    qtbot.waitUntil(lambda: chip.kind == "bad")
    fake_nvml.set(temperature=70, memory_used=8 * 1024**3)
    qtbot.waitUntil(lambda: chip.kind == "plain")
    assert gauges.text().startswith("8 of 12 GB")
    fake_nvml.set(clock_reasons=0x20)
    qtbot.waitUntil(lambda: chip.text() == "70 °C, slowed")
    assert (chip.kind, gauges.property("tone")) == ("bad", "warn") and gauges.text().endswith("slowed by heat")
    fake_nvml.set(every_query="GPU_IS_LOST")
    qtbot.waitUntil(lambda: chip.text() == "GPU lost")
    assert (gauges.text(), gauges.property("tone")) == ("doesn't answer", "bad")
    reader.close()
    assert fake_nvml.users() == users


def test_without_a_card(qtbot, fake_nvml, session: Session, window: MainWindow):
    fake_nvml.remove_driver()
    frame.Sensors(session, window.header, window)
    qtbot.waitUntil(lambda: text(window, "chip_device") == "no NVIDIA GPU")
    qtbot.waitUntil(window.findChild(QLabel, "status_gauges").isVisible)
    reading = session.reading
    assert window.header.temperature.isHidden() == (reading.cpu.temperature_c is None)
    assert text(window, "status_gauges").endswith(
        guidance.memory_of(reading.memory_used, reading.memory_total))


def test_what_a_run_draws_stands_beside_what_the_sensors_say(window: MainWindow, session: Session):
    session.set_reading(MachineReading((CARD,)))
    right = window.findChild(QLabel, "status_right")
    assert right.isHidden(), "the sensors say more than that there is no run"
    session.set_job(JobStatus("Training helpdesk", 4, 10, right="0.4 kWh · ₹3.2"))
    assert right.isVisible() and right.text() == "· 0.4 kWh · ₹3.2"
    session.set_job(JobStatus("Training helpdesk", 4, 10, text="resting: heat", alarming=True))
    assert window.findChild(QLabel, "status_progress").property("tone") == "warn"


def test_the_chip_goes_by_the_guard_of_the_run_then_by_that_of_the_plan(qapp):
    chip = Chip()
    for settings, kind, last in (
            (Settings(limit_c=70), "bad", "Training pauses at 70 °C."), (Settings(limit_c=80), "warn", "80 °C."),
            (Settings("hold", limit_c=75), "plain", "Training holds 75 °C by resting a little after each step, and "
                                                    "pauses at 80 °C."),
            (Settings("off", limit_c=90), "plain", "The heat guard is off: a run only warns.")):
        chip.set("", "plain")
        show_heat(chip, MachineReading((replace(CARD, temperature_c=76),)), settings)
        assert (chip.text(), chip.kind) == ("76 °C", kind) and chip.toolTip().endswith(last)


def test_the_hottest_of_all_parts_is_shown_and_the_others_in_its_tooltip(qapp):
    chip, second = Chip(), replace(CARD, index=1, slowdown_c=None, temperature_c=81)
    show_heat(chip, MachineReading((CARD, second), CpuReading(temperature_c=71.0)), Settings())
    assert (chip.text(), chip.kind) == ("81 °C", "warn")
    assert chip.toolTip().splitlines() == [
        "GPU 1 is at 81 °C. It doesn't report where it slows itself down, so 88 °C is assumed.",
        "The GPU is at 46 °C; it slows itself down at 95 °C.", "Training pauses at 83 °C."]
    show_heat(chip, MachineReading((CARD, second), CpuReading(temperature_c=71.0)), Settings(), on_cpu=True)
    assert (chip.text(), chip.kind) == ("71 °C", "plain")  # what the cards do is somebody else's work
    show_heat(chip, MachineReading((CARD, GpuReading(1, "RTX", lost=True, message="It fell off the bus."))), Settings())
    assert (chip.text(), chip.kind, chip.toolTip()) == ("GPU 1 lost", "bad", "It fell off the bus.")
    show_heat(chip, MachineReading(cpu=CpuReading(temperature_c=92.0, limit_c=100.0)), Settings())
    assert (chip.text(), chip.kind) == ("92 °C", "warn")
    show_heat(chip, MachineReading(), Settings())
    assert chip.isHidden()


def test_each_card_has_its_gauges_and_many_share_theirs(qapp):
    second = replace(CARD, index=1, power_w=None, slowed_by=("heat",))
    assert readings.gauges(MachineReading((CARD, second))) == (
        "GPU 0: 8 of 12 GB · 168 W  |  GPU 1: 8 of 12 GB · slowed by heat")
    lost = GpuReading(3, "RTX", lost=True, message="Gone.")
    assert readings.gauges(MachineReading((CARD, CARD, second, lost))) == (
        "4 GPUs · 24 of 36 GB · 336 W · GPU 1: slowed by heat · GPU 3: lost")
    assert readings.gauges(MachineReading((GpuReading(0, "RTX"),))) == "reports nothing"
    assert readings.gauges(MachineReading(cpu=CpuReading(62.0, percent=34.0), memory_used=4 * GIB,
                                          memory_total=16 * GIB)) == "CPU 62 °C · 34% busy · 4 of 16 GB"


def test_what_is_absent_is_said_to_be_so_and_is_never_0(qapp):
    told = readings.tip(MachineReading((GpuReading(0, "RTX 3060"),)))
    lines = [line.partition(": ") for line in told.splitlines() if line and ": " in line]
    assert [(label, words) for label, _, words in lines if words != "not reported"] == [
        ("GPU 0", "RTX 3060"), ("Battery", "none, or not reported")]
    assert len(lines) == 20 and "0 " not in told.replace("GPU 0", "").replace("RTX 3060", "")
    whole = readings.tip(MachineReading((replace(CARD, slowed_by=("power limit",), fan_percent=0),),
                                        battery=Battery(80.0, False)))
    for line in ("Temperature: 46 °C", "Slows itself down at: 95 °C", "Power: 168 W", "Power limit: 170 W",
                 "Memory in use: 8 of 12 GB", "Fan: 0%", "Limited by: its power limit",
                 "Battery: 80%, not plugged in"):
        assert line in whole.splitlines(), line


def test_what_is_free_is_followed_while_no_job_is_at_work(qtbot, fake_nvml, session: Session, window: MainWindow):
    """A plan made an hour after the start counts with the memory of now."""
    reader = frame.Sensors(session, window.header, window)
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
    reader.close()


# -- the network lock ------------------------------------------------------------------------------------------------


def test_the_network_chip_is_green_only_after_the_lock_was_tried(qtbot, window: MainWindow):
    if seccomp.here() is None:
        pytest.skip("only Linux has such a lock")
    chip = window.header.network
    frame.NetworkLock(window.session, window.header, window)
    assert (chip.text(), chip.kind) == ("Offline", "plain")
    qtbot.waitUntil(lambda: window.session.lock_proof is not None, timeout=60_000)
    assert (chip.text(), chip.kind) == ("Locked", "ok"), window.session.lock_proof
    for tried in ("TCP over IPv6: EACCES", "io_uring: EACCES", "a child process: TCP to this machine: PermissionError"):
        assert tried in chip.toolTip()


def test_one_way_that_is_open_is_enough_to_say_so(window: MainWindow):
    reason = "This was not blocked: TCP."
    window.session.lock_proof = Proof(False, True, LockState(True), (Attempt("TCP", True, False, "it worked"),),
                                      ("TCP",), (), reason)
    frame.NetworkLock(window.session, window.header, window)  # of the window before; it is tried again
    chip = window.header.network
    assert (chip.text(), chip.kind) == ("Not enforced", "warn") and reason in chip.toolTip()
