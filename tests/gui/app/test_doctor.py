"""The doctor's page: checking, done and failed; what can be copied; the line at a start."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QScrollArea
from pytestqt.qtbot import QtBot
from support import healthy_machines
from support.window import press, texts

from slmstudio.core import checkup
from slmstudio.core.errors import UserError
from slmstudio.core.hardware.doctor.facts import Line, Torch
from slmstudio.core.hardware.doctor.gather import examine
from slmstudio.core.settings import Settings
from slmstudio.gui.app.doctor import DoctorDialog
from slmstudio.gui.app.main_window import MainWindow
from slmstudio.gui.app.settings import SettingsDialog
from slmstudio.gui.common import tasks
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.widgets.copy_text import CopyLine
from slmstudio.gui.common.widgets.labels import Chip

CHILD = """
import json, sys
for name in sys.argv[2:]:
    said = {"version": "2.13.0+cpu", "available": False} if name == "torch" else {"gpu": False}
    print(json.dumps({"library": name, "error": "", **said}), flush=True)
"""
ILL = examine(replace(healthy_machines.desktop(), torch=Torch("2.13.0+cpu", available=False),
                      scripts_without_font=("Tamil",)))


@pytest.fixture(autouse=True)
def quick_libraries(tmp_path: Path, studio_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The libraries answer at once; what they really say is looked at in tests/core."""
    (tmp_path / "child.py").write_text(CHILD)
    monkeypatch.setenv("SLMSTUDIO_WORKER", json.dumps([sys.executable, str(tmp_path / "child.py")]))


@pytest.fixture
def window(qtbot: QtBot) -> Iterator[MainWindow]:
    made = MainWindow(Session(Settings()))
    qtbot.addWidget(made)
    with qtbot.waitSignal(made.painted):
        made.show()
    yield made
    assert tasks.shut_down(60_000), "a task did not end"


@pytest.fixture
def dialog(qtbot: QtBot) -> DoctorDialog:
    made = DoctorDialog()
    qtbot.addWidget(made)
    made.show()
    return made


def test_f9_checks_this_machine_and_shows_every_line(qtbot: QtBot, window: MainWindow):
    qtbot.keyClick(window, Qt.Key.Key_F9)
    dialog = window.findChild(DoctorDialog)
    assert dialog.progress.isVisible() and not dialog.again.isEnabled() and not dialog.copy.isEnabled()
    qtbot.waitUntil(lambda: bool(dialog.lines))
    assert not dialog.progress.isVisible() and dialog.again.isEnabled()
    marks = [chip for chip in dialog.findChildren(Chip) if chip.isVisibleTo(dialog)]
    assert len(marks) == len(dialog.lines) > 10
    assert all(line.title in texts(dialog) for line in dialog.lines)
    press(qtbot, dialog, "doctor_close")
    qtbot.waitUntil(lambda: window.findChild(DoctorDialog) is None)


@pytest.fixture
def check(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> Callable[[DoctorDialog, list[Line]], None]:
    """`check(dialog, lines)`: it checks a machine of which there is this to say."""
    def run(dialog: DoctorDialog, lines: list[Line]) -> None:
        monkeypatch.setattr(checkup, "visit", lambda *_: lines)
        dialog.check()
        qtbot.waitUntil(lambda: dialog.lines == lines)

    return run


def test_what_is_wrong_comes_first_with_its_command(qtbot: QtBot, dialog: DoctorDialog, check):
    check(dialog, ILL)
    assert dialog.summary.text() == f"1 problem, 1 warning; {len(ILL) - 2} checks passed."
    first, second, third, *_ = dialog.findChildren(Chip)
    assert [(chip.text(), chip.kind) for chip in (first, second, third)] == [
        ("✕ Problem", "bad"), ("! Warning", "warn"), ("✓ Fine", "ok")]
    assert first.accessibleName() == "✕ Problem: PyTorch can't use the RTX 3060: this is the CPU-only build."
    commands = dialog.findChildren(CopyLine)
    wanted = [line.command for line in ILL if line.state != "fine"]
    assert [command.field.text() for command in commands] == wanted
    qtbot.mouseClick(commands[0].copy, Qt.MouseButton.LeftButton)
    assert QGuiApplication.clipboard().text() == wanted[0]
    assert commands[0].field.accessibleName()
    check(dialog, [line for line in ILL if line.state != "problem"])
    assert dialog.summary.text() == f"1 warning; {len(ILL) - 2} checks passed.", "what there is none of isn't counted"


def test_a_healthy_machine(dialog: DoctorDialog, check):
    lines = examine(healthy_machines.desktop())
    check(dialog, lines)
    assert dialog.summary.text() == f"Everything is fine: {len(lines)} checks passed."
    assert dialog.findChildren(CopyLine) == [] and "Needs attention" not in texts(dialog)


def test_the_report_is_copied_without_names(qtbot: QtBot, dialog: DoctorDialog, check, studio_home: Path):
    lines = [replace(line, why=str(studio_home)) if line.code == "home" else line for line in ILL]
    check(dialog, lines)
    press(qtbot, dialog, "doctor_copy")
    copied = QGuiApplication.clipboard().text()
    assert "[problem] PyTorch can't use the RTX 3060" in copied and "<runs and models>" in copied
    assert str(studio_home) not in copied


def test_a_check_that_fails_says_so_and_can_be_tried_again(qtbot: QtBot, dialog: DoctorDialog, monkeypatch):
    def fails(*_):
        raise UserError("The system doesn't answer.", "", "Try again.")

    with monkeypatch.context() as broken:
        broken.setattr(checkup, "visit", fails)
        dialog.check()
        qtbot.waitUntil(lambda: dialog.banner.error is not None)
    assert not dialog.copy.isEnabled() and not dialog.progress.isVisible()
    press(qtbot, dialog, "doctor_again")
    assert dialog.banner.error is None
    qtbot.waitUntil(lambda: bool(dialog.lines))
    assert dialog.copy.isEnabled()


def test_closing_ends_the_check(qtbot: QtBot, dialog: DoctorDialog):
    dialog.check()
    assert tasks.is_busy(dialog)
    dialog.reject()
    assert not tasks.is_busy(dialog)
    assert tasks.shut_down(60_000)


def test_it_fits_a_small_window_and_scrolls(qtbot: QtBot, window: MainWindow, check):
    window.resize(640, 360)
    dialog = DoctorDialog(window)
    dialog.show()
    check(dialog, ILL)
    assert dialog.width() <= 640 and dialog.height() <= 360
    area = dialog.findChild(QScrollArea)
    qtbot.waitUntil(lambda: area.verticalScrollBar().maximum() > 0)
    assert area.horizontalScrollBar().maximum() == 0


def test_the_settings_lead_to_it(qtbot: QtBot, window: MainWindow):
    window.open_settings()
    press(qtbot, window.findChild(SettingsDialog), "settings_doctor")
    dialog = window.findChild(DoctorDialog)
    assert dialog.isVisible()
    qtbot.waitUntil(lambda: bool(dialog.lines))


def test_a_start_names_a_problem_until_it_was_seen(qtbot: QtBot, window: MainWindow, request):
    def look() -> bool:
        with qtbot.waitSignal(window.notice.looked):
            window.notice.look()
        return window.notice.isVisible()

    assert not look(), "nothing is wrong"
    request.getfixturevalue("fake_nvml")  # a card, and the tests' PyTorch for processors
    assert look() and window.notice.text.text() == "PyTorch can't use the RTX 3060: this is the CPU-only build."
    press(qtbot, window, "notice_doctor")
    dialog = window.findChild(DoctorDialog)
    assert window.notice.isHidden() and dialog.isVisible()
    assert not look() and window.session.settings.told == ["torch"]
    qtbot.waitUntil(lambda: bool(dialog.lines))
