"""What Start would ask of the machine: memory, time and power, estimated, corrected by what was measured here, or
measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from slmstudio.core.hardware.guidance import rough_seconds
from slmstudio.core.hardware.machine import Machine
from slmstudio.core.model.facts import ModelFacts
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.curves import steps_per_epoch, total_steps
from slmstudio.core.run.energy.energy_use import MACHINE, SAME, Forecast, forecast
from slmstudio.core.run.memory import formula, measured
from slmstudio.core.run.memory.formula import Judgement, MemoryEstimate, judge
from slmstudio.core.run.memory.measured import FACTOR_LIMITS, Correction, Measurement

AS_THEY_ARE = ("overhead", "low", "high", "trainable_parameters", "phase")
"""What of an estimate isn't a part that a correction applies to: libraries and context take what they take."""
KNOWN = ("weights", "adapter", "gradients", "optimizer")
"""Parts whose size follows from the number of parameters."""
AGAIN = (0.97, 1.05)
"""The same run again: allocators and other programs move its peak within these factors."""


@dataclass(frozen=True)
class Best:
    """The best that is known about a run's memory.

    Attributes:
        estimate: the formula's, corrected as far as anything was measured.
        measured: what was measured of just this run, or None.
        corrected_by: measurements that corrected the estimate; 0 is the bare formula.
    """

    estimate: MemoryEstimate
    measured: Measurement | None
    corrected_by: int


@dataclass(frozen=True)
class Outlook:
    """What to know before Start is pressed.

    Attributes:
        device: "cuda" or "cpu".
        free: bytes free there; None if the driver doesn't say.
        seconds: how long the whole run takes; None if no step of it was measured.
        energy: what it draws; None if nobody knows.
        rough_seconds: how long it takes as far as parameters and tokens tell; None if nobody counted them.
    """

    best: Best
    device: str
    free: int | None
    seconds: float | None
    energy: Forecast | None = None
    rough_seconds: float | None = None

    @property
    def judgement(self) -> Judgement:
        """Whether it fits; it is advice, and a user may start all the same."""
        estimate, known = self.best.estimate, self.best.measured
        if known is not None and known.ran_out and (self.free is None or self.free <= known.peak_bytes):
            return Judgement(formula.NO, formula.TOO_LITTLE)
        seconds = self.rough_seconds if self.seconds is None else self.seconds
        return judge(estimate.low, estimate.high, self.free, seconds)

    def to_dict(self) -> dict[str, Any]:
        estimate, known = self.best.estimate, self.best.measured
        return {"low": estimate.low, "likely": estimate.total, "high": estimate.high, "device": self.device,
                "free": self.free, "fits": self.judgement.level, "reason": self.judgement.reason,
                "rough_seconds": self.rough_seconds, "corrected_by": self.best.corrected_by,
                "measured_peak": known.peak_bytes if known else None, "ran_out": bool(known and known.ran_out),
                "seconds": self.seconds}


def best_estimate(facts: ModelFacts, config: RunConfig, machine: Machine,
                  known: Sequence[Measurement] | None = None) -> Best:
    """The formula's estimate, corrected by what was measured on this machine.

    Args:
        known: the measurements, where they were read already.
    """
    known = measured.load() if known is None else known
    plain = formula.estimate(facts, config, measured.device_of(config, machine))
    exact = measured.find(facts, config, machine, known)
    if exact is not None and not exact.ran_out:
        return Best(as_measured(plain, exact.peak_bytes), exact, 1)
    found = measured.correction(facts, config, machine, known)
    estimate, count = (corrected(plain, found), found.count) if found else (plain, 0)
    newest = measured.alike(facts, config, machine, known)[-1:]
    if newest and newest[0].ran_out:  # it takes more than that, whatever the formula says
        estimate, count = as_measured(estimate, max(estimate.total, newest[0].peak_bytes)), 1
    return Best(estimate, exact, count)


def look(facts: ModelFacts, config: RunConfig, machine: Machine, train_rows: int,
         tokens: int | None = None) -> Outlook:
    """Memory, time and power of a run on this machine, as it is now.

    Args:
        train_rows: rows that it learns.
        tokens: of these rows; None if nobody counted them.
    """
    known = measured.load()
    best = best_estimate(facts, config, machine, known)
    seconds = run_seconds(config, train_rows, best.measured)
    device, free = measured.free_on(config, machine)
    drawn, same = measured.drawn(facts, config, machine, known)
    if (likely := seconds) is None:
        likely = run_seconds(config, train_rows, _by_others(config, measured.alike(facts, config, machine, known)))
    epochs = total_steps(config, train_rows) / max(1, steps_per_epoch(config, train_rows))
    rough = None if tokens is None else rough_seconds(facts.parameters, epochs * tokens, machine, config.method,
                                                      on_gpu=device == "cuda")
    return Outlook(best, device, free, seconds,
                   forecast(config, machine, device == "cuda", likely, drawn, SAME if same else MACHINE), rough)


def _by_others(config: RunConfig, alike: Sequence[Measurement]) -> Measurement | None:
    """What a step may take, going by the newest run with the same settings but other rows; their lengths may differ."""
    for each in reversed(alike):
        accumulated = each.rows.get("gradient_accumulation_steps")
        if each.seconds_per_step is not None and isinstance(accumulated, int) and accumulated > 0:
            return replace(each, seconds_per_step=each.seconds_per_step * config.gradient_accumulation_steps
                           / accumulated)
    return None


def run_seconds(config: RunConfig, train_rows: int, known: Measurement | None) -> float | None:
    """Seconds of a whole run: its steps, and an evaluation before them, between them and at the end."""
    if known is None or known.seconds_per_step is None:
        return None
    steps = total_steps(config, train_rows)
    evaluations = 1 + math.ceil(steps / config.eval_steps)
    return steps * known.seconds_per_step + evaluations * (known.seconds_per_evaluation or 0.0)


def corrected(estimate: MemoryEstimate, correction: Correction) -> MemoryEstimate:
    """An estimate with its parts multiplied by what measurements found, libraries and context aside.

    The range keeps half its width around the new middle, or what the measurements span where that is more.
    """
    parts = estimate.total - estimate.overhead
    scaled = _scaled(estimate, correction.factor)
    down = max((estimate.total - estimate.low) / 2, (correction.factor - correction.least) * parts)
    up = max((estimate.high - estimate.total) / 2, (correction.most - correction.factor) * parts)
    return replace(scaled, low=int(scaled.total - down), high=int(scaled.total + up))


def as_measured(estimate: MemoryEstimate, peak_bytes: int) -> MemoryEstimate:
    """An estimate of a run whose peak was measured: the parts add up to it, and the range is narrow."""
    parts = max(1, estimate.total - estimate.overhead)
    factor = min(max((peak_bytes - estimate.overhead) / parts, FACTOR_LIMITS[0]), FACTOR_LIMITS[1])
    scaled = _scaled(estimate, factor)
    rest = max(0, peak_bytes - (scaled.total - scaled.overhead))
    return replace(scaled, overhead=rest, low=int(AGAIN[0] * peak_bytes), high=int(AGAIN[1] * peak_bytes))


def _scaled(estimate: MemoryEstimate, factor: float) -> MemoryEstimate:
    """The parts together multiplied by `factor`. Weights and what learns are known to the byte, so that the others
    change as much as it takes; all do where that isn't enough."""
    parts = [field.name for field in fields(estimate) if field.name not in AS_THEY_ARE]
    sizes = {name: getattr(estimate, name) for name in parts}
    moving = {name: size for name, size in sizes.items() if name not in KNOWN}
    wanted = factor * sum(sizes.values()) - sum(sizes[name] for name in KNOWN)
    if wanted <= 0 or not sum(moving.values()):
        moving, wanted = sizes, factor * sum(sizes.values())
    scale = wanted / max(1, sum(moving.values()))
    return replace(estimate, **{name: round(scale * size) for name, size in moving.items()})
