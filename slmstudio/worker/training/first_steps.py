"""The first steps of every start of a run are measured, and what they took is kept with the machine.

After the first step, when the optimizer's state is in memory, the longest micro-batch of the whole run goes forward and
backward once, or twice where gradients are accumulated. Nothing of that is left: gradients and figures are thrown away
and random numbers put back, so the run learns as if it had not happened. If memory is too small for the run, that shows
now and not hours later (docs/decisions/0022-fit-check.md).
"""

from __future__ import annotations

import contextlib
import statistics
from typing import Any

from filelock import Timeout

from slmstudio.core.errors import UserError
from slmstudio.core.hardware.machine import Machine
from slmstudio.core.model.facts import ModelFacts
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.memory import measured, outlook
from slmstudio.worker.runtime.context import JobContext, rank
from slmstudio.worker.runtime.peak import PeakMemory
from slmstudio.worker.training import methods, micro_batches

STEPS = 3
"""Steps after which the measurement is told."""


class FirstSteps:
    """Watches the steps of one start.

    Args:
        machine: as it was before the model was loaded.
    """

    def __init__(self, job: JobContext, config: RunConfig, trainer: Any, facts: ModelFacts, machine: Machine):
        self._job, self._config, self._trainer, self._facts, self._machine = job, config, trainer, facts, machine
        gpu = methods.on_gpu(config)
        self._peak = PeakMemory(gpu, machine.gpus[0].memory_free if gpu and machine.gpus else None)
        self._seconds: list[float] = []
        self._speeds: list[float] = []
        self._evaluations: list[float] = []
        self._longest = 0
        self._told = False

    def begin(self) -> None:
        """Everything is loaded; what comes now is measured."""
        self._peak.reset()

    def evaluated(self, seconds: float) -> None:
        """An evaluation is done, with its answers to the fixed questions."""
        self._evaluations.append(seconds)

    def step_made(self, seconds: float, tokens: int, last: bool) -> None:
        """A step is done.

        Args:
            last: none comes after it.
        """
        self._seconds.append(seconds)
        self._speeds.append(tokens / seconds)
        if len(self._seconds) == 1:
            self._try_longest(last)
        if len(self._seconds) == STEPS:
            self._tell()

    def close(self) -> None:
        """The run has ended: its mean step says more of the time than the first ones."""
        if self._longest and (not self._told or len(self._seconds) > STEPS):
            self._tell()

    def _try_longest(self, last: bool) -> None:
        """Not a compiled model: another length would compile it again, and change the last digits of its losses."""
        trainer, config = self._trainer, self._config
        rows = micro_batches.longest(micro_batches.of_run(trainer, config), trainer.lengths, config)
        self._longest = micro_batches.tokens(rows, trainer.lengths, config)
        if not last and not config.torch_compile:
            trainer.try_micro_batch(rows, times=min(2, config.gradient_accumulation_steps))

    def _tell(self) -> None:
        """Tell the measurement once, and keep it with the machine."""
        seconds, speeds = (found[1:] or found for found in (self._seconds, self._speeds))  # the first warms up
        plain = outlook.best_estimate(self._facts, self._config, self._machine, known=()).estimate
        found = measured.measure(
            self._facts, self._config, self._machine, "run", self._longest, self._peak.bytes(),
            seconds_per_step=statistics.fmean(seconds), tokens_per_second=statistics.fmean(speeds),
            seconds_per_evaluation=statistics.fmean(self._evaluations) if self._evaluations else None)
        if not self._told:
            self._told = True
            self._job.emit("fit_measured", peak_bytes=found.peak_bytes, estimate_bytes=plain.total, low=plain.low,
                           high=plain.high, longest_tokens=found.tokens, seconds_per_step=found.seconds_per_step,
                           tokens_per_second=found.tokens_per_second)
        if rank() == 0:
            keep(found, self._job)


def keep(found: measured.Measurement, job: JobContext) -> None:
    """Keep a measurement; the run is worth more than it."""
    with contextlib.suppress(Timeout):
        try:
            measured.record(found)
        except (UserError, OSError) as error:
            job.log(f"What was measured isn't kept: {error}")
