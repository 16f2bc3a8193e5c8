"""The report's button says where the report is, and can be cancelled."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QPushButton, QVBoxLayout, QWidget
from support import evaluated_runs
from support.window import press

from slmstudio.core.report import pdf
from slmstudio.gui.results.run_actions import ReportButton


@pytest.fixture
def run(studio_home, tiny_model):
    return evaluated_runs.ended_run("helpdesk", model=tiny_model)


@pytest.fixture
def button(qtbot, session, run):
    window = QWidget()
    qtbot.addWidget(window)
    made = ReportButton()
    column = QVBoxLayout(window)
    for part in (made, made.strip, made.line):
        column.addWidget(part)
    made.show_run(run)
    window.show()
    made.banner = SimpleNamespace(show_error=lambda error: made.failures.append(error))
    made.failures = []
    yield made
    window.close()


@pytest.fixture
def opened(monkeypatch):
    """What was to be opened; `opened.answer` says whether the system has a program for it."""
    class Opened(list):
        answer = True

        def __call__(self, url) -> bool:
            self.append(url.toLocalFile())
            return self.answer

    calls = Opened()
    monkeypatch.setattr("PySide6.QtGui.QDesktopServices.openUrl", calls)
    return calls


def test_it_says_where_the_report_is(qtbot, button, run, opened, tmp_path):
    button.write()
    qtbot.waitUntil(button.line.isVisible)
    assert button.line.said.text() == "Written:" and button.line.place.text() == str(run / "report.html")
    press(qtbot, button.line, "report_folder")
    assert opened == [str(run / "report.html"), str(run)]
    button.show_run(run)
    assert button.line.isVisible()
    button.show_run(tmp_path)
    assert not button.line.isVisible(), "it is of another run"


def test_it_says_when_nothing_opens_it(qtbot, button, run, opened):
    opened.answer = False
    button.write()
    qtbot.waitUntil(button.line.isVisible)
    assert "no program here can open it" in button.line.said.text() and (run / "report.html").is_file()
    folder = button.line.findChild(QPushButton, "report_folder")
    assert folder.isVisible()
    qtbot.mouseClick(folder, Qt.MouseButton.LeftButton)
    assert not folder.isVisible(), "nor does anything show the folder"


def test_a_browser_that_prints_without_end_is_cancelled(qtbot, button, run, opened, tmp_path, monkeypatch):
    browser, pid = tmp_path / "chromium", tmp_path / "pid"
    browser.write_text(f"#!/bin/sh\necho $$ > {pid}.partial\nmv {pid}.partial {pid}\nexec sleep 600\n")
    browser.chmod(0o755)
    monkeypatch.setattr(pdf, "browsers", lambda: [str(browser)])
    button.save(tmp_path / "report.pdf")
    qtbot.waitUntil(lambda: button.strip.isVisible() and pid.exists())
    assert not button.isEnabled()
    qtbot.mouseClick(button.strip.cancel, Qt.MouseButton.LeftButton)
    assert button.isEnabled() and not button.strip.isVisible()
    qtbot.waitUntil(lambda: not _is_there(int(pid.read_text())))
    assert opened == button.failures == [] and not Path(tmp_path / "report.pdf").exists()


def _is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
