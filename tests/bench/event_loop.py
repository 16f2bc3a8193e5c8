"""How late is the window's event loop while a worker trains on every core?

    python tests/bench/event_loop.py [--seconds 60] [--json]

Opens the real window (offscreen unless DISPLAY is set) on the Training tab, trains the starter model on the starter
data in a worker, and asks a 10 ms timer how late it fires. Prints the 50th, 99th and 100th percentile in milliseconds.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))
if not os.environ.get("DISPLAY"):
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

PERIOD_MS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    from PySide6.QtCore import Qt, QTimer
    from PySide6.QtWidgets import QApplication

    from slmstudio.core import paths, settings, starter
    from slmstudio.core.data import reader
    from slmstudio.core.hardware.machine import read_machine
    from slmstudio.core.run import folder
    from slmstudio.core.run.planning import plan_inputs, planner
    from slmstudio.gui.app.main_window import MainWindow
    from slmstudio.gui.common import theme
    from slmstudio.gui.common.session import Session

    model = starter.prepare()
    dataset = reader.read_dataset(paths.starter_train_file())
    config = planner.configure(plan_inputs.PlanInputs(
        dataset, model, read_machine(), paths.starter_test_file(), {"epochs": 1000, "eval_steps": 10**6}))
    job = folder.create(config, Path(tempfile.mkdtemp(prefix="slmstudio-bench-")))
    app = QApplication([])
    chosen, _ = settings.load()
    theme.apply(app, chosen.theme)
    session = Session(chosen)
    window = MainWindow(session)
    window.resize(1280, 720)
    window.show()
    job.start()
    session.start_run(job)
    session.go_to("training")
    lateness: list[float] = []
    state = {"expected": 0.0, "begin": 0.0, "steps": 0}

    def tick() -> None:
        now = time.perf_counter()
        if state["expected"]:
            lateness.append((now - state["expected"]) * 1000)
        state["expected"] = time.perf_counter() + PERIOD_MS / 1000
        if now - state["begin"] > options.seconds:
            timer.stop()
            app.exit()  # quit() would close the window first, which asks what becomes of the run

    timer = QTimer()
    timer.setTimerType(Qt.TimerType.PreciseTimer)
    timer.setSingleShot(False)
    timer.timeout.connect(tick)

    def begin_when_training() -> None:
        if any(event["type"] == "step" for event in job.events()):
            waiter.stop()
            state["begin"] = time.perf_counter()
            timer.start(PERIOD_MS)
        elif job.outcome() is not None:
            raise SystemExit(f"the worker ended early: {job.outcome()}")

    waiter = QTimer()
    waiter.timeout.connect(begin_when_training)
    waiter.start(250)
    app.exec()
    steps = sum(event["type"] == "step" for event in job.events())
    job.kill()
    lateness = sorted(max(0.0, late) for late in lateness)
    figures = {"ticks": len(lateness), "steps": steps, "p50_ms": round(lateness[len(lateness) // 2], 2),
               "p99_ms": round(lateness[int(len(lateness) * 0.99)], 2), "worst_ms": round(lateness[-1], 2)}
    print(json.dumps(figures) if options.json else "\n".join(f"{key:10} {value}" for key, value in figures.items()))
    os._exit(0)


if __name__ == "__main__":
    main()
