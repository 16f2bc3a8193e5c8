"""The window around the tabs: header, chips, status bar, shortcuts, and what it remembers."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest
from PySide6.QtCore import QEvent, QObject, QRect, Qt
from PySide6.QtWidgets import QFileDialog, QPushButton, QTabBar, QWidget
from support.window import press, text

from slmstudio.core import settings
from slmstudio.core.hardware.machine import Gpu, Machine
from slmstudio.core.model.facts import read_model
from slmstudio.gui.app import application as program
from slmstudio.gui.app.main_window import MainWindow
from slmstudio.gui.app.settings import SettingsDialog
from slmstudio.gui.common import theme
from slmstudio.gui.common.session import TABS, JobStatus, Session
from slmstudio.gui.model import known

GIB = 1024**3
CPU_ONLY = Machine("Linux", "Some CPU", 4, 8, 16 * GIB, 9 * GIB, (), False, False, "No NVIDIA driver was found.")
WITH_GPU = Machine("Linux", "Some CPU", 4, 8, 16 * GIB, 9 * GIB,
                   (Gpu(0, "NVIDIA GeForce RTX 3060", 12 * GIB, int(11.2 * GIB), (8, 6)),), False, False)


def test_it_begins_with_the_data_tab(window: MainWindow, unexplained):
    assert window.header.tabs.tabText(window.header.tabs.currentIndex()) == "Data"
    assert window.findChild(QPushButton, "data_choose").isVisible()
    assert (text(window, "status_job"), text(window, "status_right")) == ("Ready", "No run")
    settings_dialog = window.open_settings()
    assert unexplained(window) == []
    settings_dialog.reject()


def test_tabs_by_mouse_and_by_keyboard(qtbot, window: MainWindow):
    tabs = window.header.tabs
    qtbot.mouseClick(tabs, Qt.MouseButton.LeftButton, pos=tabs.tabRect(1).center())
    assert tabs.currentIndex() == 1
    window.activateWindow()
    for number in (3, 4, 5, 1):
        qtbot.keyClick(window, getattr(Qt.Key, f"Key_{number}"), Qt.KeyboardModifier.ControlModifier)
        assert tabs.currentIndex() == number - 1


class WindowWatch(QObject):
    """Counts the windows that come up."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[str] = []

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Show and isinstance(watched, QWidget) and watched.isWindow():
            self.shown.append(type(watched).__name__)
        return False


def test_no_part_flashes_up_as_a_window_of_its_own(qtbot, qapp, session: Session):
    watch = WindowWatch()
    qapp.installEventFilter(watch)
    window = MainWindow(session)
    qtbot.addWidget(window)
    window.show()
    for tab in TABS:
        window.go_to(tab)
    data = window.page("data")
    with qtbot.waitSignal(data.idle):
        data.open_sample()
    for mode in range(3):
        data.workspace().rows.mode.set_current(mode)
    qapp.removeEventFilter(watch)
    assert watch.shown == ["MainWindow"]


def test_a_tick_stands_behind_what_is_done(window: MainWindow, session: Session):
    tabs = window.header.tabs
    places = [tabs.tabRect(index) for index in range(tabs.count())]
    session.mark_done("data")
    window.go_to("model")
    tick = window.header.tabs.tabButton(0, QTabBar.ButtonPosition.RightSide)
    assert tick.text() == "✓"
    assert [tabs.tabRect(index) for index in range(tabs.count())] == places, "no tab moves"
    session.mark_done("data", False)
    assert window.header.tabs.tabButton(0, QTabBar.ButtonPosition.RightSide).text() == ""


def test_the_chosen_model_is_there_after_a_restart(qtbot, session: Session, window: MainWindow, tiny_model: Path):
    session.set_model(read_model(tiny_model))
    later = Session(settings.load()[0])
    again = MainWindow(later)
    qtbot.addWidget(again)
    program.restore_model(later, again)
    qtbot.waitUntil(lambda: later.model is not None)
    assert later.model.path == tiny_model and later.done == {"model"}
    models = again.page("model")
    models.models.put([known.read(tiny_model)])
    with qtbot.waitSignal(models.refreshed):
        models.refresh()
    assert models.card.shows(tiny_model)


def test_the_chips_tell_of_the_machine_and_promise_no_more_than_is_true(window: MainWindow, session: Session):
    for machine, words in ((CPU_ONLY, "no NVIDIA GPU"), (WITH_GPU, "RTX 3060 · 12 GB")):
        session.set_machine(machine)
        assert text(window, "chip_device") == words and machine.gpu_reason in window.header.device.toolTip()
    assert (text(window, "chip_network"), window.header.network.kind) == ("Offline", "plain"), "not tried yet"


def test_the_running_job_is_in_the_status_bar(window: MainWindow, session: Session):
    session.set_job(JobStatus("Training pune-helpdesk", 484, 1053, 3480, right="8.2 of 12 GB · 168 W"))
    assert text(window, "status_job") == "Training pune-helpdesk"
    assert text(window, "status_progress") == "45% · about 58 min left"
    assert text(window, "status_right") == "8.2 of 12 GB · 168 W"
    assert (window.status.bar.value(), window.status.bar.maximum()) == (460, 1000)
    session.set_job(JobStatus("Training pune-helpdesk", text="starting"))
    assert (text(window, "status_progress"), window.status.bar.maximum()) == ("starting", 0)
    session.set_job(None)
    assert not window.status.bar.isVisible()


def test_the_window_remembers_its_place_and_its_tab(qtbot, session: Session, window: MainWindow):
    window.setGeometry(QRect(40, 30, 1000, 655))  # the tests' screen is 800 pixels high and wide
    window.go_to("model")
    window.close()
    remembered, trouble = settings.load()
    assert (remembered.last_tab, trouble) == ("model", None)
    again = MainWindow(Session(remembered))
    qtbot.addWidget(again)
    again.show()
    assert again.height() == 655
    assert again.header.tabs.currentIndex() == 1


@pytest.mark.parametrize("geometry", ["", "nonsense", "ÄÖ", "QUJD"])
def test_a_damaged_place_is_passed_over(qtbot, session: Session, geometry: str):
    session.settings.geometry, session.settings.last_tab = geometry, "no such tab"
    window = MainWindow(session)
    qtbot.addWidget(window)
    assert (window.width(), window.height()) == (1280, 720) and window.minimumSizeHint().width() <= 1280
    assert window.header.tabs.currentIndex() == 0


@pytest.fixture
def dialog(qtbot, window: MainWindow) -> SettingsDialog:
    press(qtbot, window, "open_settings")
    return window.findChild(SettingsDialog)


def test_the_theme_is_changed_and_kept(qtbot, window: MainWindow, dialog: SettingsDialog):
    with qtbot.waitSignal(theme.THEME.changed):
        qtbot.mouseClick(dialog.scheme.button(2), Qt.MouseButton.LeftButton)
    assert theme.THEME.dark and settings.load()[0].theme == "dark"
    press(qtbot, dialog, "settings_close")
    qtbot.waitUntil(lambda: window.findChild(SettingsDialog) is None)


def test_another_hub_is_kept_once_it_can_be_an_address(qtbot, dialog: SettingsDialog):
    for typed, refused, kept in (("no address", True, ""),
                                 ("https://models.example.org/", False, "https://models.example.org")):
        dialog.hub.clear()
        qtbot.keyClicks(dialog.hub, typed)
        qtbot.keyClick(dialog.hub, Qt.Key.Key_Return)
        assert (dialog.banner.isVisibleTo(dialog), settings.load()[0].hub_endpoint) == (refused, kept)
    dialog.reject()


def test_a_defect_in_a_slot_is_logged_and_shown_and_the_window_lives(qtbot, window: MainWindow, caplog, monkeypatch):
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr("threading.excepthook", None)
    program._catch_defects(window)
    error = RuntimeError("a defect")
    sys.excepthook(type(error), error, None)
    assert window.banner.isVisible()
    assert "a defect" in caplog.text
    window.go_to("model")
    assert window.header.tabs.currentIndex() == 1


def test_qt_messages_go_to_the_log(caplog):
    from PySide6.QtCore import QtMsgType

    with caplog.at_level(logging.DEBUG):
        program._log_qt(QtMsgType.QtCriticalMsg, None, "a message")
    assert ("qt", logging.ERROR, "a message") in caplog.record_tuples


def test_ctrl_o_opens_in_the_tab_that_is_open_or_in_data(qtbot, window: MainWindow):
    for begin, expected in (("results", "data"), ("model", "model")):
        window.go_to(begin)
        qtbot.keyClick(window, Qt.Key.Key_O, Qt.KeyboardModifier.ControlModifier)
        assert TABS[window.header.tabs.currentIndex()] == expected
        dialog = window.page(expected).findChild(QFileDialog)
        assert dialog is not None
        dialog.reject()
