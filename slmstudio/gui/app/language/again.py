"""Another language without a restart: a new window takes everything over from the old one and replaces it.

Widgets get their texts when they are made, so new ones are made. Workers keep running meanwhile: they are processes of
their own, and the new window follows them as the old one did.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, cast

from PySide6.QtWidgets import QDialog

from slmstudio.gui.app.main_window import MainWindow
from slmstudio.gui.app.sensors import Sensors

if TYPE_CHECKING:
    from slmstudio.gui.chat.tab import ChatTab
    from slmstudio.gui.data.tab import DataTab
    from slmstudio.gui.model.tab import ModelTab
    from slmstudio.gui.results.tab import ResultsTab
    from slmstudio.gui.training.tab import TrainingTab

    Tab = DataTab | ModelTab | TrainingTab | ResultsTab | ChatTab


def made_from(old: MainWindow) -> MainWindow:
    """A window in the language that is spoken now, in place of `old`, with all that is open and at work there.

    It is on the screen, and `old` is gone, when this returns.
    """
    for dialog in old.findChildren(QDialog):
        dialog.close()
    session = old.session.successor()
    session.settings.geometry = base64.b64encode(old.saveGeometry().data()).decode()
    new = MainWindow(session)
    new.setWindowIcon(old.windowIcon())
    for name, page in old.pages().items():
        cast("Tab", new.page(name)).take_over(page)  # type: ignore[arg-type]  # two of one kind
    if old.welcome_is_open():
        new.open_welcome()
    for sensors in old.findChildren(Sensors):
        sensors.show_in(session, new.header, new)
    new.show()
    new.activateWindow()
    old.hide()
    old.deleteLater()
    return new
