"""Another language without a restart: a new window takes everything over from the old one and replaces it.

Widgets get their texts when they are made, so new ones are made. Workers keep running meanwhile: they are processes of
their own, and the new window follows them as the old one did.
"""

from __future__ import annotations

import base64

from PySide6.QtWidgets import QDialog

from slmstudio.gui.app.main_window import MainWindow
from slmstudio.gui.app.sensors import Sensors


def made_from(old: MainWindow) -> MainWindow:
    """A window in the language that is spoken now, in place of `old`, with all that is open and at work there.

    It shows the open tab at once, and `old` is gone when it is `ready`: the other pages are made one after another.
    """
    for dialog in old.findChildren(QDialog):
        dialog.close()
    old.take_over_rest()
    session = old.session.successor()
    session.settings.geometry = base64.b64encode(old.saveGeometry().data()).decode()
    new = MainWindow(session, old)
    new.setWindowIcon(old.windowIcon())
    if old.welcome_is_open():
        new.open_welcome()
    for sensors in old.findChildren(Sensors):
        sensors.show_in(session, new.header, new)
    new.painted.connect(old.hide)
    new.show()
    new.activateWindow()
    return new
