"""What the tests of the whole window share."""

from __future__ import annotations

import pytest
from pytestqt.qtbot import QtBot

from slmstudio.gui.app.main_window import MainWindow
from slmstudio.gui.common.session import Session


@pytest.fixture
def window(qtbot: QtBot, session: Session) -> MainWindow:
    """The window as it is at first."""
    shown = MainWindow(session)
    qtbot.addWidget(shown)
    with qtbot.waitSignal(shown.painted):
        shown.show()
    return shown
