"""How late is the window's event loop while a large dataset is read, shown, checked, scrolled through and searched?

    python tests/bench/data_table.py [--rows 500000] [--json]

Opens the real window (offscreen unless DISPLAY is set) on the Data tab with generated rows, and asks a 10 ms timer how
late it fires. Prints the latest of each phase in milliseconds. The rows are scrolled through, searched and sorted while
they are checked; "checked" is how the report arrives.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
if not os.environ.get("DISPLAY"):
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

PERIOD_MS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SLMSTUDIO_HOME"] = str(Path(folder) / "home")
        path = Path(folder) / "rows.jsonl"
        with open(path, "w", encoding="utf-8") as file:
            for number in range(options.rows):
                row = {"instruction": f"प्रश्न {number}: where is office {number % 977}?",
                       "output": f"Office {number % 977} is next to the market. " * 3}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        figures = {"rows": options.rows, **measured(path)}
    print(json.dumps(figures) if options.json else "\n".join(f"{name}: {value}" for name, value in figures.items()))


def measured(path: Path) -> dict[str, float]:
    """The latest that the timer fired in each phase, in ms, and the seconds until the rows were there."""
    from PySide6.QtCore import QEventLoop, QTimer
    from PySide6.QtWidgets import QApplication

    from slmstudio.core.settings import Settings
    from slmstudio.gui.app.application import UI_TURN_SECONDS
    from slmstudio.gui.app.main_window import MainWindow
    from slmstudio.gui.common import tasks, theme
    from slmstudio.gui.common.session import Session

    sys.setswitchinterval(UI_TURN_SECONDS)
    app = QApplication([])
    theme.apply(app, "light")
    window = MainWindow(Session(Settings()))
    window.resize(1280, 720)
    window.show()
    late = [0.0]
    last = [time.perf_counter()]

    def tick() -> None:
        now = time.perf_counter()
        late[0] = max(late[0], (now - last[0]) * 1000 - PERIOD_MS)
        last[0] = now

    timer = QTimer(interval=PERIOD_MS)
    timer.timeout.connect(tick)
    timer.start()

    def phase(begin: Callable[[], object], done: Callable[[], bool], most: float = 300.0) -> float:
        pause(50)
        late[0], last[0] = 0.0, time.perf_counter()
        begin()
        end = time.monotonic() + most
        while not done() and time.monotonic() < end:
            pause(20)
        return round(late[0], 1)

    def pause(milliseconds: int) -> None:
        loop = QEventLoop()
        QTimer.singleShot(milliseconds, loop.quit)
        loop.exec()

    pause(1500)
    tab = window.page("data")
    finished: list[bool] = []
    tab.idle.connect(lambda: finished.append(True))
    started = time.perf_counter()
    figures = {"reading_ms": phase(lambda: tab.open_files([path]), lambda: bool(finished))}
    figures["reading_seconds"] = round(time.perf_counter() - started, 1)
    rows, entry = tab.workspace().rows, tab.workspace().entry
    bar = rows.table.verticalScrollBar()
    steps = iter(range(0, bar.maximum(), max(1, bar.maximum() // 200)))
    figures["scrolling_ms"] = phase(lambda: None, lambda: _scrolled(bar, steps))
    figures["searching_ms"] = phase(lambda: rows.search.setText("office 500"), _after(3.0))
    order = rows.table.horizontalHeader().sortIndicatorOrder()
    figures["sorting_ms"] = phase(lambda: rows.table.sortByColumn(1, order), _after(3.0))
    checked = time.perf_counter()
    figures["checked_ms"] = phase(lambda: None, lambda: entry.report is not None)
    figures["checked_seconds"] = round(time.perf_counter() - checked, 1)
    window.close()
    tasks.shut_down(5_000)
    return figures


def _scrolled(bar: object, steps: object) -> bool:
    place = next(steps, None)  # type: ignore[call-overload]
    if place is None:
        return True
    bar.setValue(place)  # type: ignore[attr-defined]
    return False


def _after(seconds: float) -> Callable[[], bool]:
    end: list[float] = []

    def done() -> bool:
        end[:] = end or [time.monotonic() + seconds]
        return time.monotonic() > end[0]

    return done


if __name__ == "__main__":
    main()
