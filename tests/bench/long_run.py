"""What a long run costs the window: folding its events, and drawing its plots.

    python tests/bench/long_run.py [--hours 12] [--cards 2] [--json]

Makes the events of a run with a reading a second and a step every three, folds them into a history as the window's
thread does, and shows it in the plots (offscreen unless DISPLAY is set). Then a reading comes each 50 ms for ten
seconds, while a 10 ms timer is asked how late it fires: that is how long the window stands still. Prints seconds and
milliseconds.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))
if not os.environ.get("DISPLAY"):
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtCore import QEventLoop, Qt, QTimer
from PySide6.QtWidgets import QApplication

from slmstudio.core.hardware.nvml import GpuReading
from slmstudio.core.hardware.readings import CpuReading, MachineReading
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.history import RunHistory
from slmstudio.gui.common import theme
from slmstudio.gui.plots.run_plots import RunPlots

PERIOD_MS, LIVE_SECONDS = 10, 10.0
GIB = 1024**3


def events(second: int, cards: int) -> list[dict[str, object]]:
    """What a worker tells in one second of work."""
    gpus = tuple(GpuReading(
        number, "NVIDIA GeForce RTX 4090", temperature_c=70 + (second * 7 + number) % 13, slowdown_c=90,
        power_w=300.0 + second % 40, power_limit_w=450.0, energy_j=300.0 * second, memory_used=18 * GIB,
        memory_total=24 * GIB, utilisation=98, clock_mhz=2500, fan_percent=60, slowed_by=(), uuid=f"GPU-{number}",
        memory_temperature_c=80, graphics_clock_mhz=2500, memory_clock_mhz=10000) for number in range(cards))
    cpu = CpuReading(60.0 + second % 5, 100.0, 34.0, 4000.0)
    found: list[dict[str, object]] = [{"type": "sensors", "time": float(second), **MachineReading(
        gpus, cpu, 20 * GIB, 64 * GIB).to_dict(), "process_memory": 9 * GIB, "cpu_percent": 120.0}]
    if second % 3 == 0:
        found.append({"type": "step", "time": float(second), "global_step": second // 3, "learning_rate": 1e-4,
                      "train_loss": 1.5 - second / 1e6, "grad_norm": 0.9, "tokens_per_second": 3400.0 + second % 100})
    if second % 600 in (0, 120):
        kind = "guard_rest" if second % 600 == 0 else "guard_resume"
        found.append({"type": kind, "time": float(second), "global_step": second // 3, "why": "heat", "seconds": 120.0})
    return found


def wait(milliseconds: int) -> None:
    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop.quit)
    loop.exec()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=12)
    parser.add_argument("--cards", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    seconds = round(options.hours * 3600)
    made = [event for second in range(1, seconds + 1) for event in events(second, options.cards)]
    history, began = RunHistory(), time.perf_counter()
    history.add({"type": "job_started", "time": 0.0})
    for event in made:
        history.add(event)
    folded, count = time.perf_counter() - began, len(made)
    made.clear()  # the window keeps none of them
    gc.collect()
    app = QApplication([])
    theme.apply(app, "light")
    plots = RunPlots()
    plots.resize(1200, 900)
    plots.show()
    began, lateness = time.perf_counter(), []
    timer, state = QTimer(), {"expected": 0.0}
    timer.setTimerType(Qt.TimerType.PreciseTimer)

    def tick() -> None:
        now = time.perf_counter()
        if state["expected"]:
            lateness.append((now - state["expected"]) * 1000)
        state["expected"] = time.perf_counter() + PERIOD_MS / 1000

    timer.timeout.connect(tick)
    timer.start(PERIOD_MS)
    while len(plots.small) < len(plots._recipes()):
        wait(20)
    plots.show_history(history, RunConfig(name="n", model="m", train_file="t"))
    while plots._stale or plots._turn.isActive():
        wait(20)
    drawn, first = time.perf_counter() - began, max(lateness)
    lateness.clear()
    live, second = time.perf_counter(), seconds
    while time.perf_counter() - live < LIVE_SECONDS:
        second += 1
        for event in events(second, options.cards):
            history.add(event)
        plots.refresh()
        wait(50)
    late = sorted(max(0.0, each) for each in lateness)
    figures = {
        "events": count, "fold_s": round(folded, 2), "first_drawn_s": round(drawn, 2),
        "first_worst_ms": round(first, 1), "live_p50_ms": round(late[len(late) // 2], 1),
        "live_p99_ms": round(late[int(len(late) * 0.99)], 1), "live_worst_ms": round(late[-1], 1)}
    print(json.dumps(figures) if options.json else "\n".join(f"{key:16} {value}" for key, value in figures.items()))
    os._exit(0)


if __name__ == "__main__":
    main()
