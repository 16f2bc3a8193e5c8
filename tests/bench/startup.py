"""How long the window takes to its first paint, against a bare Qt window, and two commands of the terminal: whole
processes, by the clock on the wall.

    python tests/bench/startup.py [--runs 5] [--json]

Exit status 1 when the ratio of the medians is above the budget.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BUDGET = 2.2
ROOT = Path(__file__).resolve().parents[2]
BARE = """
import sys
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication, QMainWindow, QTabWidget

class Window(QMainWindow):
    def paintEvent(self, event):
        super().paintEvent(event)
        QTimer.singleShot(0, app.quit)

app = QApplication([])
window = Window()
window.setCentralWidget(QTabWidget())
window.resize(1280, 720)
window.show()
sys.exit(app.exec())
"""
COMMANDS = {name: f"import sys; sys.argv[1:] = ['{name}']; from slmstudio.__main__ import main; sys.exit(main())"
            for name in ("--help", "runs")}
OURS = "import sys; from slmstudio.gui.app.application import main; sys.exit(main(quit_after_paint=True))"


def seconds(program: str, environment: dict[str, str]) -> float:
    """Run one process to its end."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True, env=environment, cwd=ROOT,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begun


def measure(runs: int) -> dict[str, float]:
    """Medians in seconds. They take turns, so that all meet the same machine; the first of each isn't counted."""
    programs = {"bare": BARE, "ours": OURS, **COMMANDS}
    times: dict[str, list[float]] = {name: [] for name in programs}
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "SLMSTUDIO_HOME": home, "PYTHONPYCACHEPREFIX": os.path.join(home, "pyc")}
        # What users start was compiled before. Where nothing compiled is kept, each start would compile it again.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        if not (environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY") or os.name == "nt"):
            environment.setdefault("QT_QPA_PLATFORM", "offscreen")
        for _ in range(runs + 1):
            for name, program in programs.items():
                times[name].append(seconds(program, environment))
    bare, ours, help_, runs_ = (statistics.median(times[name][1:]) for name in programs)
    return {"bare_s": round(bare, 3), "ours_s": round(ours, 3), "ratio": round(ours / bare, 2), "budget": BUDGET,
            "help_s": round(help_, 3), "runs_s": round(runs_, 3)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = measure(options.runs)
    if options.json:
        print(json.dumps(result))
    else:
        print("bare window {bare_s:.3f} s, ours {ours_s:.3f} s, ratio {ratio:.2f} (at most {budget}); "
              "--help {help_s:.3f} s, runs {runs_s:.3f} s".format(**result))
    return 0 if result["ratio"] <= BUDGET else 1


if __name__ == "__main__":
    sys.exit(main())
