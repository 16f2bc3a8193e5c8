"""Waiting threads spin for a moment on a quiet machine, and sleep at once beside other programs.

What OpenMP does then shows in its speed alone (tests/bench/training_speed.py); that the idle threads which make it do
so come and go shows here.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from slmstudio.core.jobs import processes


def run(program: str, spins: str) -> None:
    """Run a program as a training job is run, without the limits of tests that share the cores."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    found = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, timeout=120,
        env={**kept, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": spins})
    assert found.returncode == 0, found.stderr


def test_idle_threads_are_there_while_other_programs_compute() -> None:
    run("""
import contextlib, os, threading, time
import psutil, torch
from slmstudio.worker.runtime import threads

threads.PERIOD_SECONDS = 0.02
others = 0.0  # cores that other programs use

class Simulated(threads.GivingWay):
    at = used = 0.0
    def _times(self):
        self.at, self.used = self.at + 1, self.used + others
        return self.at, self.used, 0.0

def count_is(expected):
    end = time.monotonic() + 60
    while psutil.Process().num_threads() != expected:
        assert time.monotonic() < end, (psutil.Process().num_threads(), expected)
        time.sleep(0.01)

torch.set_num_threads(2)
torch.zeros(1 << 20).add_(1)
before = psutil.Process().num_threads()
with contextlib.closing(Simulated()):
    watched = before + 1
    pools = max(1, len(os.sched_getaffinity(0)) - 1)
    for others, expected in ((0.0, watched), (1.0, watched + 2 * pools), (0.2, watched + 2 * pools), (0.0, watched),
                             (0.2, watched), (1.0, watched + 2 * pools)):
        time.sleep(0.1)
        count_is(expected)
count_is(before)
for spins, count in (("0", 2), ("10000", 1)):  # nobody watches where threads never spin, or there is one
    os.environ["GOMP_SPINCOUNT"] = spins
    torch.set_num_threads(count)
    with contextlib.closing(threads.GivingWay()):
        assert threading.active_count() == 1, (spins, count)
""", spins="10000")


def test_only_what_gives_way_spins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    for kinds, spins in ((("train", "fit_check", "evaluate", "talk"), processes.SPINS), (("", "export", "chat"), "0")):
        assert {processes.worker_environment(kind)["GOMP_SPINCOUNT"] for kind in kinds} == {spins}
    assert {processes.worker_environment(kind)["OMP_WAIT_POLICY"] for kind in ("", "train")} == {"PASSIVE"}
    monkeypatch.setenv("GOMP_SPINCOUNT", "5")  # the user's own, or what this worker was started with
    assert processes.worker_environment()["GOMP_SPINCOUNT"] == "5"
