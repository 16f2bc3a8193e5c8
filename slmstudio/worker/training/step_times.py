"""How long the steps, evaluations and checkpoints of a run take, how much is left, and what its first steps took; and
the most memory that this process takes."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from slmstudio.core.errors import UserError
from slmstudio.core.files import LineReader
from slmstudio.core.hardware.machine import Machine
from slmstudio.core.jobs import EVENTS
from slmstudio.core.model.facts import ModelFacts
from slmstudio.core.run import measured
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.energy.energy_use import EnergyMeter
from slmstudio.core.run.guard_summary import HOLD
from slmstudio.core.run.memory import outlook
from slmstudio.core.time_left import TimeLeft
from slmstudio.worker.runtime.context import JobContext, running_seconds
from slmstudio.worker.runtime.sensors import Sensors
from slmstudio.worker.training import batches, methods
from slmstudio.worker.training.heat import HeatPauses, local_time
from slmstudio.worker.training.saving import Saver

# -- The most memory that this process takes: on the GPU with its context, else of the machine's main memory.

# -- Keeps a long run's main memory near what its first steps took.

SPARE = 0.03
"""By this share a process may grow before holes are given back."""


class Heap:
    """
    Attributes:
        given_back: how many times it was done.
    """

    def __init__(self) -> None:
        self.given_back = 0
        self._trim = _malloc_trim()
        self._most: float | None = None

    def stay_within(self, peak_bytes: int) -> None:
        """From now on, the process isn't to take more than this for long."""
        self._most = peak_bytes * (1 + SPARE)

    def between_steps(self) -> None:
        if self._trim is not None and self._most is not None and psutil.Process().memory_info().rss > self._most:
            self._trim()
            self.given_back += 1


def _malloc_trim() -> Callable[[], object] | None:
    """glibc's function (malloc_trim(3)); other C libraries have none."""
    if sys.platform != "linux":
        return None
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return None if trim is None else lambda: trim(ctypes.c_size_t(0))


MOST_CONTEXT = 2 * 1024**3
"""No CUDA context is larger: what is more was taken by another program meanwhile."""


class PeakMemory:
    """Measures from `reset` on; where the system can't forget its own maximum (Windows, macOS), from the start.

    Args:
        gpu: of the current CUDA device, else of main memory.
        free_before: bytes that were free on the GPU before this process used it; None leaves the context out.
    """

    def __init__(self, gpu: bool, free_before: int | None = None):
        self._gpu, self._free_before = gpu, free_before

    def reset(self) -> None:
        if self._gpu:
            torch.cuda.reset_peak_memory_stats()
        else:
            with contextlib.suppress(OSError):  # "5" sets VmHWM to what is used now (man 5 proc, clear_refs)
                Path("/proc/self/clear_refs").write_text("5")

    def bytes(self) -> int:
        if self._gpu:
            return torch.cuda.max_memory_reserved() + self._context()
        return _main_memory_peak()

    def _context(self) -> int:
        """What CUDA itself and its libraries hold, beside PyTorch's own memory."""
        if self._free_before is None:
            return 0
        used = self._free_before - torch.cuda.mem_get_info()[0]
        return min(max(0, used - torch.cuda.memory_reserved()), MOST_CONTEXT)


def _main_memory_peak() -> int:
    if sys.platform == "linux":
        status = Path("/proc/self/status").read_text(errors="replace").splitlines()
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))
    if os.name == "nt":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


# -- What the first steps took; it is kept with the machine.

STEPS = 3
"""Steps after which the measurement is told."""
PAUSES = {"paused": "resumed", "guard_rest": "guard_resume"}
"""Events that begin a pause, and those that end it."""
LEAST_SECONDS = 10.0
"""Readings must cover this many seconds before a run's power draw is known."""


class FirstSteps:
    """Watches the steps of one start.

    After the first step, when the optimizer's state is in memory, the longest micro-batch of the whole run goes forward
    and backward once, or twice where gradients are accumulated. This leaves no trace: gradients and figures are
    discarded and the random state is restored, so the run learns as if it hadn't happened. If memory is too small for
    the run, that shows now and not hours later (docs/decisions/0022-fit-check.md).

    Args:
        machine: as it was before the model was loaded.
    """

    def __init__(self, job: JobContext, config: RunConfig, trainer: Any, facts: ModelFacts, machine: Machine):
        self._job, self._config, self._trainer, self._facts, self._machine = job, config, trainer, facts, machine
        gpu = methods.on_gpu(config)
        self._peak = PeakMemory(gpu, machine.gpus[0].memory_free if gpu and machine.gpus else None)
        self._steps = self._timed = self._tokens = self._evaluations = self._longest = 0
        self._seconds = self._evaluation_seconds = self._all_seconds = 0.0
        self._told = self._tried = False
        self._heap = None if gpu else Heap()

    def begin(self) -> None:
        """Everything is loaded; what comes now is measured."""
        self._peak.reset()

    def evaluated(self, seconds: float) -> None:
        """An evaluation is done, with its answers to the fixed questions."""
        self._evaluations += 1
        self._evaluation_seconds += seconds

    def step_made(self, seconds: float, tokens: int, last: bool) -> None:
        self._steps += 1
        self._all_seconds += seconds
        if self._steps <= 2:  # the first one warms up, and counts only as long as there is no other
            self._timed = self._tokens = 0
            self._seconds = 0.0
        self._timed, self._tokens, self._seconds = self._timed + 1, self._tokens + tokens, self._seconds + seconds
        if self._steps == 1:
            self._try_longest(last)
        if self._steps == STEPS:
            self._report()

    def next_begins(self) -> None:
        """What a step leaves behind is done, and the next one begins."""
        if self._heap is not None:
            self._heap.between_steps()

    def close(self, idle: float) -> None:
        """The run has ended: its mean step says more about the time than the first ones, and its power draw is
        known.

        Args:
            idle: seconds in which nothing was done.
        """
        if self._steps and (not self._told or self._steps > STEPS):
            self._report(self._watts(), idle)

    def _watts(self) -> float | None:
        """Mean over the whole run while it was working, according to its events; rests between steps are included."""
        meter, ends = EnergyMeter(), set[str]()
        for event in LineReader(self._job.folder / EVENTS).read():
            kind = str(event.get("type"))
            if kind == "job_started":
                ends.clear()
            elif kind in PAUSES and event.get("why") != HOLD:
                ends.add(PAUSES[kind])
                meter.stop()
            elif kind in ends and event.get("why") != HOLD:
                ends.discard(kind)
                meter.stop()
            if not ends:
                meter.add(event)
        use = meter.use
        return use.watts if use is not None and use.seconds >= LEAST_SECONDS else None

    def _try_longest(self, last: bool) -> None:
        """Not a compiled model: another length would compile it again, and change the last digits of its losses."""
        trainer, config = self._trainer, self._config
        rows = batches.longest(batches.of_run(trainer, config), trainer.lengths, config)
        self._longest = int(batches.tokens(np.array([rows]), trainer.lengths, config)[0])
        if not last and not config.torch_compile:
            trainer.try_micro_batch(rows, times=min(2, config.gradient_accumulation_steps))
            self._tried = True

    def _report(self, watts: float | None = None, idle: float = 0.0) -> None:
        """Report the measurement once, and keep it with the machine. Without the trial it says nothing about the
        longest rows."""
        if not self._tried:
            return
        plain = outlook.best_estimate(self._facts, self._config, self._machine, known=()).estimate
        besides = running_seconds() - idle - self._all_seconds - self._evaluation_seconds
        rows = self._trainer.eval_dataset
        found = outlook.measure(
            self._facts, self._config, self._machine, "run", self._longest, self._peak.bytes(),
            seconds_per_step=self._seconds / self._timed, tokens_per_second=self._tokens / self._seconds,
            seconds_per_evaluation=self._evaluation_seconds / self._evaluations if self._evaluations else None,
            watts=watts, row_tokens=float(self._trainer.lengths.mean()), evaluated=len(rows) if rows is not None else 0,
            seconds_besides=max(0.0, besides))
        if not self._told:
            self._told = True
            if self._heap is not None:
                self._heap.stay_within(found.peak_bytes)
            self._job.emit("fit_measured", peak_bytes=found.peak_bytes, estimate_bytes=plain.total, low=plain.low,
                           high=plain.high, longest_tokens=found.tokens, seconds_per_step=found.seconds_per_step,
                           tokens_per_second=found.tokens_per_second)
        if self._trainer.args.world_size == 1:  # what several do together says nothing about one
            keep(found, self._job)


def keep(found: measured.Measurement, job: JobContext) -> None:
    """Keep a measurement, without letting a failure end the run."""
    try:
        measured.record(found)
    except (UserError, OSError) as error:
        job.log(f"What was measured isn't kept: {error}")


class Clock:
    """Times the work of one start, without the sleep of the machine, pauses, and waiting for space.

    Attributes:
        left: the estimate, by kind of work.
    """

    def __init__(self, config: RunConfig, trainer: Any, sensors: Sensors, saver: Saver, first: FirstSteps,
                 rests: HeatPauses):
        self._config, self._trainer, self._sensors, self._saver = config, trainer, sensors, saver
        self._first, self._rests = first, rests
        self._started, self._asleep, self._held = 0.0, 0.0, 0.0
        self.left = TimeLeft(least=2)

    def start(self) -> None:
        """The next step begins."""
        self._rests.work_begins()
        self._started, self._asleep = time.monotonic(), self._sensors.suspended_seconds

    def step_made(self) -> float:
        """Seconds of the step that has just been made."""
        asleep = self._sensors.suspended_seconds - self._asleep
        seconds = max(1e-6, time.monotonic() - self._started - asleep)
        self.left.took("step", seconds + self._rests.held - self._held)
        self._held = self._rests.held
        return seconds

    @contextlib.contextmanager
    def timed(self, kind: str) -> Iterator[None]:
        """Learn how long work of this kind takes."""
        started, idle, held = time.monotonic(), self.idle, self._rests.held
        yield
        seconds = max(0.0, time.monotonic() - started - (self.idle - idle))
        self.left.took(kind, seconds + self._rests.held - held)
        self._held = self._rests.held  # what was rested in an evaluation isn't part of the next step
        if kind == "evaluation":
            self._first.evaluated(seconds)

    @property
    def idle(self) -> float:
        """Seconds so far in which nothing was done."""
        return self._sensors.suspended_seconds + self._saver.waited + self._rests.seconds

    def seconds_left(self, step: int) -> float | None:
        """The steps to come, and what comes between them and at the end."""
        total = self._trainer.total_steps

        def coming(every: int) -> int:  # that of this step is still to come
            return (total - 1) // every - (step - 1) // every + 1

        left = self.left.left(step=total - step, evaluation=coming(self._config.eval_steps),
                              checkpoint=coming(self._config.save_steps))
        hours = self._rests.hours
        return left if left is None or hours is None else hours.seconds_until_done(local_time(), left)
