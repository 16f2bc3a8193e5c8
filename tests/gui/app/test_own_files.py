"""Trouble with the program's own files is a sentence in the window, and its log stays short."""

from __future__ import annotations

import errno
import logging
import os
import sys

import pytest

from slmstudio.core import paths
from slmstudio.core.settings import Settings
from slmstudio.gui.app import application as program
from slmstudio.gui.app.main_window import MainWindow
from slmstudio.gui.common.session import Session


@pytest.fixture
def log(studio_home):
    """The root logger as it is at a start, and as it was afterwards."""
    root = logging.getLogger()
    before = root.level
    yield root
    for handler in [each for each in root.handlers if each.name == program.LOG_HANDLER]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(before)


def test_a_home_that_went_read_only_is_said_with_what_to_do(qtbot, studio_home, monkeypatch) -> None:
    window = MainWindow(Session(Settings()))
    qtbot.addWidget(window)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr("threading.excepthook", None)
    program._catch_defects(window)
    error = OSError(errno.EROFS, os.strerror(errno.EROFS), str(studio_home / "queue.json"))
    sys.excepthook(type(error), error, None)
    shown = window.banner.error
    assert str(studio_home) in str(shown) and "read-only" in str(shown) and "SLMSTUDIO_HOME" in str(shown)


def test_the_log_is_put_aside_before_it_is_long_also_while_the_window_is_open(log, monkeypatch) -> None:
    monkeypatch.setattr(program, "LOG_LIMIT", 5000)
    assert program._start_logging() is None
    for number in range(300):
        logging.getLogger("slmstudio").warning("Something happened for the %dth time.", number)
    kept = paths.log_file().with_name(paths.log_file().name + ".1")
    assert paths.log_file().stat().st_size <= 5000 and kept.stat().st_size <= 5000
    assert "299th" in paths.log_file().read_text("utf-8")
    assert sorted(path.name for path in paths.home().iterdir()) == [paths.log_file().name, kept.name]


@pytest.mark.skipif(os.name == "nt", reason="no pipes in the file system here")
def test_a_pipe_in_the_place_of_the_log_is_said(log, studio_home) -> None:
    studio_home.mkdir()
    os.mkfifo(paths.log_file())
    assert "It is a pipe" in str(program._start_logging())
