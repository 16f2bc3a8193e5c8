"""How long each tab takes from the click to the paint, the first time and later.

    python tests/bench/tabs.py [--wait SECONDS]

Opens the real window (offscreen unless DISPLAY is set), waits that long after its first paint, and opens one tab after
another. Prints milliseconds until the tab is painted; for the wait, how late a 10 ms timer fired (p50, p99, most).
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wait", type=float, default=3)
    options = parser.parse_args()
    if not os.environ.get("DISPLAY"):
        os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    os.environ["SLMSTUDIO_HOME"] = tempfile.mkdtemp(prefix="slmstudio-bench-")
    from PySide6.QtCore import QElapsedTimer, Qt, QTimer
    from PySide6.QtTest import QTest
    from PySide6.QtWidgets import QApplication

    from slmstudio.core.settings import Settings
    from slmstudio.gui.app.application import UI_TURN_SECONDS
    from slmstudio.gui.app.main_window import MainWindow
    from slmstudio.gui.common import tasks, theme
    from slmstudio.gui.common.session import TABS, Session

    sys.setswitchinterval(UI_TURN_SECONDS)
    app = QApplication(["slmstudio"])
    garbage = tasks.GarbageCollector(app)
    theme.apply(app, "light", 100)
    window = MainWindow(Session(Settings(welcomed=True, prepare_starter=False)))
    window.ready.connect(garbage.keep_what_is_there)
    window.ready.connect(window.prepare_pages)
    window.resize(1280, 720)
    window.show()
    late, expected = [], [0.0]

    def tick() -> None:
        now = time.perf_counter()
        if expected[0]:
            late.append(max(0.0, 1000 * (now - expected[0])))
        expected[0] = time.perf_counter() + 0.01

    timer = QTimer(timerType=Qt.TimerType.PreciseTimer, interval=10, timeout=tick)
    window.painted.connect(timer.start)
    QTest.qWait(int(1000 * options.wait))
    timer.stop()
    late.sort()
    for round_ in ("first", "later"):
        for tab in TABS[1:] + TABS[:1]:
            clock = QElapsedTimer()
            clock.start()
            window.go_to(tab)
            window.repaint()
            app.processEvents()
            print(f"{round_:6} {tab:9} {clock.nsecsElapsed() / 1e6:7.1f} ms")
            QTest.qWait(300)
    if late:
        print(f"timer late: p50 {late[len(late) // 2]:.1f}, p99 {late[int(len(late) * 0.99)]:.1f}, most {late[-1]:.1f} "
              f"ms of {len(late)}")
    os._exit(0)


if __name__ == "__main__":
    main()
