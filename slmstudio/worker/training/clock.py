"""How long a run's steps, evaluations and checkpoints take, and how much longer the run does."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from slmstudio.core.run.config import RunConfig
from slmstudio.core.time_left import TimeLeft
from slmstudio.worker.runtime.sensors import Sensors
from slmstudio.worker.training.first_steps import FirstSteps
from slmstudio.worker.training.heat import HeatPauses, local_time
from slmstudio.worker.training.saving import Saver


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
