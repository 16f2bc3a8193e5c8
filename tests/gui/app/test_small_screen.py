"""A screen of 1280×720 at 200%: the window fits, and everything in it can be reached."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import json
from PySide6.QtCore import Qt, QThreadPool
from PySide6.QtWidgets import QAbstractButton, QApplication, QScrollArea
from slmstudio.core.settings import Settings
from slmstudio.gui.common import tasks, theme
from slmstudio.gui.app.main_window import MainWindow
from slmstudio.gui.common.session import TABS, Session

app = QApplication(["slmstudio"])
theme.apply(app, "light")
window = MainWindow(Session(Settings()))
painted = []
window.painted.connect(lambda: painted.append(True))
window.show()
while not painted:
    app.processEvents()
screen = window.screen()
found = {"screen": screen.availableGeometry().getRect(), "ratio": screen.devicePixelRatio(),
         "window": window.frameGeometry().getRect(), "unreachable": []}


def can_be_reached(part):
    \"\"\"Whether nothing around a widget cuts it off, other than what can be scrolled that way.\"\"\"
    rect = part.rect()
    while not part.isWindow():
        parent, rect = part.parentWidget(), rect.translated(part.pos())
        area = parent.parentWidget()
        if isinstance(area, QScrollArea) and parent is area.viewport():
            across = area.horizontalScrollBarPolicy() != Qt.ScrollBarPolicy.ScrollBarAlwaysOff
            if not across and (rect.left() < 0 or rect.right() > parent.rect().right()):
                return False
            parent, rect = area, area.rect()
        elif not parent.rect().contains(rect):
            return False
        part = parent
    return True


for tab in TABS:
    window.go_to(tab)
    QThreadPool.globalInstance().waitForDone()  # what the tab reads is read
    app.processEvents()
    for widget in window.findChildren(QAbstractButton):
        if widget.isVisible() and not widget.size().isEmpty() and not can_be_reached(widget):
            found["unreachable"].append((tab, widget.objectName() or widget.text()))
window.open_welcome()
app.processEvents()
found["unreachable"] += [("welcome", w.objectName()) for w in window.welcome.findChildren(QAbstractButton)
                         if w.isVisible() and not can_be_reached(w)]
found["after"] = window.frameGeometry().getRect()
window.close()
tasks.shut_down()
print(json.dumps(found))
"""


def test_the_window_opens_within_a_small_screen_and_everything_is_reached(tmp_path: Path, studio_home: Path):
    screen = tmp_path / "screen.json"
    screen.write_text(json.dumps({"screens": [{"name": "small", "x": 0, "y": 0, "width": 1280, "height": 720,
                                               "logicalDpi": 96, "logicalBaseDpi": 96, "dpr": 1}]}))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=100, check=False,
        env={**os.environ, "QT_QPA_PLATFORM": f"offscreen:configfile={screen}", "QT_SCALE_FACTOR": "2"})
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["screen"], found["ratio"]) == ([0, 0, 640, 360], 2)
    for name in ("window", "after"):
        left, top, width, height = found[name]
        assert left >= 0 and top >= 0 and left + width <= 640 and top + height <= 360, name
    assert found["unreachable"] == []
