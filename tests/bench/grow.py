"""What more rows, more runs and longer runs cost.

    python tests/bench/grow.py [--rows 10000 100000 1000000] [--runs 1000] [--steps 100000]
                               [--only rows|history|plot] [--json]

rows: a worker trains the tests' tiny model (built here, no weights needed) on generated short rows. From its start to
its first step: seconds, and the most memory that its process held (VmHWM, looked at 50 times a second, as the worker
resets it before it trains); at its first start, and at that of another run on the same file, which finds the rows and
their tokens in the cache.

history: all runs are listed as the Results tab lists them, the first time and again by another program start; and so
are runs of an earlier version, whose outcome doesn't say what their events add up to: these are read, once.

plot: a run of so many steps is opened in the plots (offscreen unless DISPLAY is set); then 1,000 more steps arrive,
one each 10 ms, while a 10 ms timer is asked how late it fires. The worst is how long the window stood still.

Everything lies below the system's temporary folder and is removed at the end: about 1 GB for a million rows.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

LOOK_SECONDS = 0.02
HELD_OUT = 100
"""Rows that are evaluated, of however many: what is measured is the way to the first step."""
STEPS_A_RUN = 300
MORE_STEPS, PERIOD_MS = 1000, 10


# -- rows ------------------------------------------------------------------------------------------------------


def write_rows(path: Path, count: int) -> None:
    with open(path, "w", encoding="utf-8") as file:
        for number in range(count):
            row = {"instruction": f"How much is {number} and {number % 97}?", "output": f"{number + number % 97}."}
            file.write(json.dumps(row) + "\n")


class Watch(threading.Thread):
    """Looks at the most memory that a process has held, until it is told to stop."""

    def __init__(self, pid: int):
        super().__init__(daemon=True)
        self._path, self._done, self.peak = Path(f"/proc/{pid}/status"), threading.Event(), 0

    def run(self) -> None:
        while not self._done.wait(LOOK_SECONDS):
            with contextlib.suppress(OSError, StopIteration):
                lines = self._path.read_text(errors="replace").splitlines()
                kilobytes = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
                self.peak = max(self.peak, kilobytes * 1024)

    def stop(self) -> int:
        self._done.set()
        self.join()
        return self.peak


def first_step(model: Path, rows: Path, count: int) -> dict[str, float]:
    """Start a run; seconds and bytes until its first step, and when each phase began."""
    from slmstudio.core import files, jobs
    from slmstudio.core.run import folder
    from slmstudio.core.run.config import RunConfig

    job = folder.create(RunConfig(
        name=f"{count} rows", model=str(model), train_file=str(rows), eval_fraction=HELD_OUT / count, device="cpu",
        max_steps=1, max_length=128, micro_batch_size=4, gradient_accumulation_steps=1, packing=True,
        group_by_length=False, sample_max_tokens=0))
    began = time.time()
    job.start()
    state = files.read_json(job.folder / jobs.PROCESS)
    assert state is not None
    watch = Watch(state["pid"])
    watch.start()
    phases: dict[str, float] = {}
    found: dict[str, float] = {}
    for event in job.follow():
        if event["type"] == "phase":
            phases.setdefault(event["phase"], round(event["time"] - began, 1))
        if event["type"] == "step" and not found:
            found = {"seconds": round(event["time"] - began, 1), "peak_mb": round(watch.stop() / 2**20)}
    if not found:
        raise SystemExit(f"The run ended without a step: {job.outcome()}")
    return {**found, **{f"at_{name.replace(' ', '_')}": at for name, at in phases.items()}}


def measure_rows(counts: list[int], say: Any) -> list[dict[str, Any]]:
    from support import tiny_model

    from slmstudio.core import paths

    model = tiny_model.build(paths.home() / "tiny")
    found = []
    for count in counts:
        rows = paths.home() / f"rows-{count}.jsonl"
        write_rows(rows, count)
        found.append({"rows": count, "first": first_step(model, rows, count),
                      "second": first_step(model, rows, count)})
        say(f"{count:>9,} rows: {found[-1]}")
        rows.unlink()
    return found


# -- history ---------------------------------------------------------------------------------------------------


def make_runs(parent: Path, count: int) -> int:
    """Finished runs as a worker leaves them, each with a reading a second. Returns the bytes of their events.

    One is made, and the others are its files under other names: a thousand take seconds.
    """
    from slmstudio.core import files, jobs
    from slmstudio.core.run import store

    plan: dict[str, Any] = {"model": "/models/tiny", "train_file": "/data/rows.jsonl", "kind": "train", "protocol": 1,
                            "format": 1, "hashes": {"train_file": "0" * 64}, "versions": {"torch": "2.13.0"}}
    sensors = {"type": "sensors", "gpu": {"temperature_c": 70, "power_w": 300.0, "memory_used": 18 * 2**30},
               "process_memory": 9 * 2**30, "cpu_percent": 120.0, "cpu": {"temperature_c": 60.0}}
    began = 1_760_000_000.0
    events: list[dict[str, Any]] = [{"type": "job_started"}, {"type": "plan", "total_steps": STEPS_A_RUN}]
    for step in range(1, STEPS_A_RUN + 1):
        events += [sensors, {"type": "step", "global_step": step, "train_loss": 2 - step / STEPS_A_RUN,
                             "learning_rate": 1e-4, "grad_norm": 0.9, "tokens_per_second": 3400.0, "tokens": 900,
                             "epoch": step / 100, "step_seconds": 1.0, "seconds_left": 300.0 - step}]
        if step % 100 == 0:
            events.append({"type": "eval", "global_step": step, "eval_loss": 1.5, "seconds": 1.0})
    lines = b"".join(files.dump_line({"protocol": 1, "time": began + at / 2, **event})
                     for at, event in enumerate(events))
    parent.mkdir(parents=True, exist_ok=True)
    (parent / jobs.EVENTS).write_bytes(lines)
    jobs.write_outcome(parent, jobs.Outcome("finished", result={"eval_loss_after": 1.5},
                                            totals=store.to_keep(parent)))
    ended = (parent / jobs.OUTCOME).read_bytes()
    for name in (jobs.EVENTS, jobs.OUTCOME):
        (parent / name).unlink()
    for number in range(count):
        folder = parent / f"2026-01-01-run-{number:04}"
        folder.mkdir()
        (folder / jobs.RUN).write_text(json.dumps({**plan, "name": f"run {number}", "created": began + 1000 * number}))
        (folder / jobs.EVENTS).write_bytes(lines)
        (folder / jobs.OUTCOME).write_bytes(ended)
    return count * len(lines)


LIST = """
import json, sys, time
from pathlib import Path
from slmstudio.gui.results.run_facts import FactsReader
reader, parent = FactsReader(), Path(sys.argv[1])
def listed():
    began = time.perf_counter()
    runs = reader.read(parent)
    return len(runs), round(time.perf_counter() - began, 2)
count, opened = listed()
count, again = listed()
print(json.dumps({"runs": count, "seconds": opened, "refreshed": again}))
"""


def measure_history(count: int, say: Any) -> dict[str, Any]:
    """The second listing is that of a program that was started again."""
    from slmstudio.core import jobs, paths

    began = time.monotonic()
    size = make_runs(paths.runs_dir(), count)
    prepared = round(time.monotonic() - began, 1)

    def listed() -> dict[str, Any]:
        done = subprocess.run([sys.executable, "-c", LIST, str(paths.runs_dir())], check=True, capture_output=True,
                              env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True)
        return dict(json.loads(done.stdout.splitlines()[-1]))

    found = {"runs": count, "events_mb": round(size / 2**20), "prepared_s": prepared, "first": listed(),
             "second": listed()}
    for run in paths.runs_dir().iterdir():
        outcome = json.loads((run / jobs.OUTCOME).read_text())
        (run / jobs.OUTCOME).write_text(json.dumps({**outcome, "totals": {}}))
    found |= {"earlier_first": listed(), "earlier_second": listed()}
    say(f"history: {found}")
    return found


# -- plot ------------------------------------------------------------------------------------------------------


def steps(numbers: range) -> Iterator[dict[str, Any]]:
    for step in numbers:
        yield {"type": "step", "time": float(step), "global_step": step, "learning_rate": 1e-4, "grad_norm": 0.9,
               "train_loss": 2.0 + (step * 7919 % 101) / 100 - step / 1e6, "tokens_per_second": 3400.0 + step % 100}
        if step % 1000 == 0:
            yield {"type": "eval", "time": float(step), "global_step": step, "eval_loss": 2.0 - step / 1e6}


def measure_plot(count: int, say: Any) -> dict[str, Any]:
    from PySide6.QtCore import QEventLoop, Qt, QTimer
    from PySide6.QtWidgets import QApplication

    from slmstudio.core.run.config import RunConfig
    from slmstudio.core.run.history import RunHistory
    from slmstudio.gui.common import theme
    from slmstudio.gui.plots.run_plots import RunPlots

    app = QApplication.instance() or QApplication([])
    theme.apply(app, "light")
    began, history = time.perf_counter(), RunHistory()
    history.add({"type": "job_started", "time": 0.0})
    for event in steps(range(1, count + 1)):
        history.add(event)
    history.series["train_loss"].smoothed()  # as whoever reads a run for the window does
    folded = time.perf_counter() - began
    plots = RunPlots()
    plots.resize(1200, 900)
    plots.show()
    late: list[float] = []
    state = {"expected": 0.0}

    def tick() -> None:
        now = time.perf_counter()
        if state["expected"]:
            late.append(1000 * max(0.0, now - state["expected"]))
        state["expected"] = time.perf_counter() + PERIOD_MS / 1000

    def wait(milliseconds: int) -> None:
        loop = QEventLoop()
        QTimer.singleShot(milliseconds, loop.quit)
        loop.exec()

    timer = QTimer()
    timer.setTimerType(Qt.TimerType.PreciseTimer)
    timer.timeout.connect(tick)
    timer.start(PERIOD_MS)
    while len(plots.small) < len(plots._recipes()):
        wait(20)
    late.clear()
    began = time.perf_counter()
    plots.show_history(history, RunConfig(name="n", model="m", train_file="t"))
    while plots._stale or plots._turn.isActive():
        wait(20)
    opened, opening = time.perf_counter() - began, max(late)
    late.clear()
    for step in range(count + 1, count + MORE_STEPS + 1):
        for event in steps(range(step, step + 1)):
            history.add(event)
        plots.refresh()
        wait(PERIOD_MS)
    ordered = sorted(late)
    found = {"steps": count, "fold_s": round(folded, 2), "open_s": round(opened, 2),
             "open_worst_ms": round(opening, 1), "live_p99_ms": round(ordered[int(0.99 * len(ordered))], 1),
             "live_worst_ms": round(ordered[-1], 1)}
    say(f"plot: {found}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--only", choices=("rows", "history", "plot"))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if not os.environ.get("DISPLAY"):
        os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

    def say(text: str) -> None:
        print(text, file=sys.stderr if options.json else sys.stdout, flush=True)

    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="slmstudio-grow-") as home:
        os.environ["SLMSTUDIO_HOME"] = home
        if options.only in (None, "rows"):
            found["rows"] = measure_rows(options.rows, say)
        if options.only in (None, "history"):
            found["history"] = measure_history(options.runs, say)
        if options.only in (None, "plot"):
            found["plot"] = measure_plot(options.steps, say)
    if options.json:
        print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
