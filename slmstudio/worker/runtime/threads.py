"""How many threads PyTorch computes with, and whether they spin while they wait for one another.

In an optimizer step, threads meet at a barrier some ten thousand times. One that sleeps there at once has to be woken
by the system, which costs a fifth of the step on a virtual machine; one that spins for some ten microseconds first
mostly needn't be. Beside a program that keeps a core busy it's the other way round: a thread that spins uses up its
share of the processor, is set aside like any other, and lets the rest wait, so that the step takes twice as long.
"""

from __future__ import annotations

import os
import threading
import time

import psutil
import torch

PERIOD_SECONDS = 2.0
BUSY, QUIET = 0.3, 0.15
"""Cores that other programs use: threads sleep at once above the first figure, and spin again below the second.
Interpolated between a quiet machine and one busy core of 2, spinning costs more than it saves from about 0.3 on."""


def use(count: int) -> None:
    """Compute with `count` threads, or with fewer where the environment allows only those (`OMP_THREAD_LIMIT`).

    oneDNN shares a product out among the threads that PyTorch asks for. If OpenMP then starts fewer, the shares of the
    others are never computed, and bf16 products hold whatever was in the memory before.
    """
    limit = os.environ.get("OMP_THREAD_LIMIT", "")
    torch.set_num_threads(max(1, min(count, int(limit)) if limit.isdecimal() else count))


class GivingWay:
    """Until it's closed, waiting threads sleep at once while other programs compute.

    GNU's OpenMP reads once, when it's loaded, how long to spin (`GOMP_SPINCOUNT`). But with more threads than cores it
    doesn't spin (`do_spin` in its config/linux/wait.h, with `OMP_WAIT_POLICY=PASSIVE`). So threads that do nothing are
    kept beside the others as long as these are to sleep. Where OpenMP is another one, nothing changes.
    """

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._threads = torch.get_num_threads()
        self._closing, self._enough = threading.Event(), threading.Event()
        self._idle: list[threading.Thread] = []
        self._thread = threading.Thread(target=self._watch, name="giving-way", daemon=True)
        if os.environ.get("GOMP_SPINCOUNT", "0") != "0" and self._threads > 1:
            self._thread.start()

    def close(self) -> None:
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()
        self.spin()

    def sleep(self) -> None:
        """Keep so many idle threads that all threads together are more than the cores."""
        if self._idle:
            return
        self._enough = threading.Event()
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        pools = max(1, -(-(cores - self._threads + 1) // (self._threads - 1)))
        self._idle = [threading.Thread(target=self._keep, args=(self._enough,), name="idle", daemon=True)
                      for _ in range(pools)]
        for thread in self._idle:
            thread.start()

    def spin(self) -> None:
        self._enough.set()
        for thread in self._idle:
            thread.join()
        self._idle = []

    @staticmethod
    def _keep(enough: threading.Event) -> None:
        torch.zeros(1 << 20).add_(1)  # large enough for OpenMP to start this thread's own others, which end with it
        enough.wait()

    def _watch(self) -> None:
        before = self._times()
        while not self._closing.wait(PERIOD_SECONDS):
            now = self._times()
            wall, all_, own = (new - old for new, old in zip(now, before, strict=True))
            before = now
            others = (all_ - own) / wall
            if others > BUSY:
                self.sleep()
            elif others < QUIET:
                self.spin()

    def _times(self) -> tuple[float, float, float]:
        """Seconds: of the clock, that all cores were busy, and that this process was."""
        machine, own = psutil.cpu_times(), self._process.cpu_times()
        idle = machine.idle + getattr(machine, "iowait", 0.0) + getattr(machine, "steal", 0.0)
        # `guest` is part of `user`.
        busy = sum(machine) - idle - getattr(machine, "guest", 0.0) - getattr(machine, "guest_nice", 0.0)
        return time.monotonic(), busy, own.user + own.system
