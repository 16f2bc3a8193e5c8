"""The fit check: a short, real training on a run's longest micro-batch; only the figures are kept.

Two steps learn the longest micro-batch, so that weights, gradients, the optimizer's state and the activations are in
memory together; then a few usual micro-batches are timed, and an evaluation is made. It all goes through the trainer of
the run itself. Want of memory is a result, not a failure.
"""

from __future__ import annotations

import contextlib
import shutil
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from transformers import TrainerCallback

from slmstudio.core.hardware.machine import Machine, read_machine, torchs_first
from slmstudio.core.model.vetting import vet
from slmstudio.core.run import measured
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.guard_summary import settings_of
from slmstudio.core.run.memory import fit_badge, outlook
from slmstudio.core.run.rows import run_rows
from slmstudio.worker.runtime import threads
from slmstudio.worker.runtime.context import JobContext, running_seconds
from slmstudio.worker.runtime.cooling import cooled
from slmstudio.worker.runtime.sensors import Sensors
from slmstudio.worker.training import batches, loading, methods, options, out_of_memory, train, training_rows
from slmstudio.worker.training.step_times import PeakMemory, keep

USUAL = (5 / 8, 3 / 8, 7 / 8, 1 / 8)
"""Which micro-batches are timed: by their place among all, sorted by length. Their mean is that of all, about."""
BUDGET_SECONDS = 30.0
"""After this long, no further micro-batch is begun."""


def run(job: JobContext) -> dict[str, Any]:
    """Try the run that the request describes.

    Returns:
        The outcome's result, as `core.run.memory.fit_result` describes it.

    Raises:
        UserError: the configuration, the data or the model can't be used.
        Cancelled: the user asked to end.
    """
    config = RunConfig.from_dict(job.request["config"])
    machine = read_machine()  # as it is before this process uses its GPU
    train.ready(config)
    config = options.settle(job, config, [options.missing(config)])
    cards = methods.cards(config)
    machine = torchs_first(machine, cards)
    # Somebody waits for it, so it rests for heat only.
    guarded = replace(settings_of(config), pause_on_battery=False, hours=None)
    try:
        with (contextlib.closing(Sensors(job, cards)) as sensors, contextlib.closing(threads.GivingWay()),
              cooled(job, "fit_check", guarded, cards is None)):
            sensors.warns = config.heat_guard == "off"
            return _Trial(job, config, machine).run()
    finally:
        for left in (run_rows.FOLDER, "trainer"):
            shutil.rmtree(job.folder / left, ignore_errors=True)


class _Trial:
    def __init__(self, job: JobContext, config: RunConfig, machine: Machine):
        self.job, self.config, self.machine = job, config, machine
        gpu = methods.on_gpu(config)
        self.peak = PeakMemory(gpu, machine.gpus[0].memory_free if gpu and machine.gpus else None)
        self.facts = vet.read_vetted(config.model)
        self.tokens = config.micro_batch_size * config.max_length  # until the rows are known
        self.about: dict[str, Any] = {}
        best = outlook.best_estimate(self.facts, config, machine, known=())
        self.expected = outlook.Outlook(best, *measured.free_on(config, machine)).to_dict()
        job.emit(fit_badge.EXPECTED, **self.expected)

    def run(self) -> dict[str, Any]:
        try:
            figures = self._measure()
        except Exception as error:
            if not out_of_memory.ran_out(error):
                raise
            self.job.log(f"{type(error).__name__}: {error}", "warning")
            figures = {"ran_out": True}
        peak = self.peak.bytes()
        keep(outlook.measure(self.facts, self.config, self.machine, "fit_check", self.tokens, peak, **figures,
                             **self.about), self.job)
        return fit_badge.of_figures(self.expected, peak, longest_tokens=self.tokens, **figures)

    def _measure(self) -> dict[str, Any]:
        config, job = self.config, self.job
        loaded = loading.load(job, config)
        trainer, lengths = loaded.trainer, loaded.trainer.lengths
        loaded_in = running_seconds()
        job.check_cancelled()
        job.phase("measuring")
        all_of_them = batches.of_run(trainer, config)
        tokens = batches.tokens(all_of_them, lengths, config)
        by_length = tokens.argsort(kind="stable")
        longest = all_of_them[by_length[-1]].tolist()
        self.tokens = int(tokens.max())
        usual = [all_of_them[by_length[int(place * len(by_length))]].tolist() for place in USUAL]
        together = min(2, config.gradient_accumulation_steps)  # the second adds its gradients to those of the first
        watch = _Stopwatch(job, trainer, 2 * together, 2 * together + len(usual))
        _learn_these(trainer, [longest] * 2 * together + usual, together)
        trainer.add_callback(watch)
        self.peak.reset()
        trainer.train()
        evaluation = self._evaluate(trainer, loaded.samples)
        micro, optimizer = statistics.fmean(watch.micro_batches), statistics.median(watch.optimizer)
        accumulated = config.gradient_accumulation_steps
        step = micro * accumulated + optimizer
        rows = trainer.eval_dataset
        self.about = {"row_tokens": float(lengths.mean()), "evaluated": len(rows) if rows is not None else 0,
                      "seconds_besides": loaded_in}
        return {"seconds_per_step": step, "seconds_per_evaluation": evaluation,
                "tokens_per_second": statistics.fmean(watch.tokens) * accumulated / step}

    def _evaluate(self, trainer: Any, samples: Any) -> float | None:
        """Seconds of a whole evaluation, from that of its longest micro-batch; None if nothing is evaluated."""
        rows = trainer.eval_dataset
        if rows is None:
            return None
        size = self.config.micro_batch_size
        lengths = training_rows.lengths(rows)
        longest = batches.longest(batches.groups(np.arange(len(lengths)), size), lengths, self.config)
        trainer.eval_dataset = rows.select(longest)
        started = time.monotonic()
        trainer.evaluate()
        seconds = (time.monotonic() - started) * int(lengths.sum()) / int(lengths[longest].sum())
        if samples:
            seconds += samples.take(trainer.model)["seconds"]
        return seconds


def _learn_these(trainer: Any, these: Sequence[Sequence[int]], together: int) -> None:
    """Let the trainer learn these micro-batches in this order, `together` of them in each update."""
    trainer.train_dataset = trainer.train_dataset.select([row for rows in these for row in rows])
    trainer.order = range(len(trainer.train_dataset))
    trainer.micro_batch, trainer.accumulation = len(these[0]), together


class _Stopwatch(TrainerCallback):  # type: ignore[misc]
    """Times what comes after the first micro-batches, tells how far it is, and ends it in time.

    Attributes:
        micro_batches, optimizer: seconds of each micro-batch and of each update.
        tokens: of each of those micro-batches, without padding.
    """

    def __init__(self, job: JobContext, trainer: Any, untimed: int, passes: int):
        self.job, self.trainer, self.untimed, self.passes, self.done = job, trainer, untimed, passes, 0
        self.micro_batches: list[float] = []
        self.optimizer: list[float] = []
        self.tokens: list[float] = []
        self._began = self._since = time.monotonic()

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.take_tokens()
        self._since = _now()

    def on_substep_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._report(1)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        now, together = _now(), self.trainer.accumulation
        if self.done >= self.untimed:
            self.micro_batches.append((now - self._since) / together)
            self.tokens.append(self.trainer.take_tokens() / together)
        self._since = now

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.optimizer.append(_now() - self._since)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._report(1)
        late = time.monotonic() - self._began > BUDGET_SECONDS and self.micro_batches
        if self.done >= self.passes or late:
            control.should_training_stop = True

    def _report(self, more: int) -> None:
        self.done += more
        self.job.progress(self.done, self.passes + 1, "passes", "measuring")  # the evaluation is one more
        rests_since = _now() if self.job.must_rest() else None
        self.job.check_cancelled()
        if rests_since is not None:
            rested = _now() - rests_since
            self._since, self._began = self._since + rested, self._began + rested


def _now() -> float:
    """Now, when the GPU has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.monotonic()
