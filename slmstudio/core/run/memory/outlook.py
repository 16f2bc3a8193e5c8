"""What Start would ask of the machine: memory, time and power, estimated, corrected by what was measured here, or
measured; and what would make it need less memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from itertools import combinations, product
from typing import Any

from slmstudio.core.hardware.machine import Machine
from slmstudio.core.i18n import tr
from slmstudio.core.model.facts import ModelFacts
from slmstudio.core.run import measured, time_estimate
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.curves import sequences
from slmstudio.core.run.energy.energy_use import MACHINE, SAME, Forecast, forecast
from slmstudio.core.run.measured import FACTOR_LIMITS, Correction, Measurement
from slmstudio.core.run.memory import formula
from slmstudio.core.run.memory.formula import Judgement, MemoryEstimate, estimate, judge
from slmstudio.core.run.run_fields import LEAVE_OUT, SHORTEST
from slmstudio.core.run.time_estimate import ROUGH, TimeEstimate

# -- What would make a run need less memory, what each change saves, and the fewest that make it fit.

LEAST_SAVING = 8 * 2**20


@dataclass(frozen=True)
class Lever:
    """One change that saves memory.

    Attributes:
        name: "checkpointing", "micro_batch", "qlora", "lora", "length", "optimizer" or "rank".
        change: the fields with their new values.
        saves: bytes of the range's upper end, if nothing else is changed.
        cost: what it costs, as a fragment: "about a fifth slower".
        enough: whether it makes the run fit by itself.
    """

    name: str
    change: dict[str, Any]
    saves: int
    cost: str
    enough: bool


def levers(facts: ModelFacts, config: RunConfig, free: int, device: str, lengths: Sequence[int] = ()) -> list[Lever]:
    """Changes that save memory, the largest saving first.

    Args:
        lengths: tokens of the rows, where they are known: a shorter length then says how many rows it cuts.
    """
    first = [_lever(facts, config, free, device, name, *steps[0])
             for name, steps in _changes(facts, config, device, lengths).items()]
    return sorted((lever for lever in first if lever.saves >= LEAST_SAVING), key=lambda lever: -lever.saves)


def to_fit(facts: ModelFacts, config: RunConfig, free: int, device: str,
           lengths: Sequence[int] = ()) -> list[Lever] | None:
    """The fewest kinds of change that make the run fit; of as many those that change what is learned least, each no
    further than it must.

    Returns:
        An empty list where it fits already, None if all of them together don't make it fit.
    """
    def fits(change: dict[str, Any]) -> bool:
        return estimate(facts, replace(config, **change), device).high <= free

    if fits({}):
        return []
    steps = _changes(facts, config, device, lengths)
    gentle = sorted(steps, key=_HARM.index)
    for names in (names for count in range(1, len(gentle) + 1) for names in combinations(gentle, count)):
        if not fits(_together(steps[name][-1][0] for name in names)):
            continue
        depths = sorted(product(*(range(len(steps[name])) for name in names)), key=sum)
        chosen = ([steps[name][depth] for name, depth in zip(names, each, strict=True)] for each in depths)
        enough = next(some for some in chosen if fits(_together(change for change, _ in some)))
        return [_lever(facts, config, free, device, name, *step) for name, step in zip(names, enough, strict=True)]
    return None


_HARM = ("micro_batch", "checkpointing", "optimizer", "qlora", "rank", "lora", "length")
"""The levers, from those that change nothing of what is learned to those that do most."""
_Steps = dict[str, list[tuple[dict[str, Any], str]]]
"""By lever the changes that it can be pulled to, from the gentlest, and what each costs."""


def _together(changes: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return {field: value for change in changes for field, value in change.items()}


def _lever(facts: ModelFacts, config: RunConfig, free: int, device: str, name: str, change: dict[str, Any],
           cost: str) -> Lever:
    now, then = (estimate(facts, replace(config, **fields), device).high for fields in ({}, change))
    return Lever(name, change, now - then, cost, then <= free)


def _changes(facts: ModelFacts, config: RunConfig, device: str, lengths: Sequence[int]) -> _Steps:
    least, total = 2 if config.objective == "kto" else 1, config.effective_batch_size
    fewer = [n for n in range(config.micro_batch_size // 2, least - 1, -1) if total % n == 0]
    shorter = config.max_length
    shorts = []
    while (shorter := shorter // 2 // 64 * 64) >= SHORTEST:
        shorts.append(shorter)
    found: _Steps = {
        "checkpointing": [({"gradient_checkpointing": True}, tr("about a fifth slower, same result"))]
        if not config.gradient_checkpointing else [],
        "micro_batch": [({"micro_batch_size": n, "gradient_accumulation_steps": total // n},
                         tr("same effective batch and same result, a little slower on a GPU")) for n in fewer],
        "qlora": [({"method": "qlora"}, tr("slower steps and a small loss in quality"))]
        if config.method == "lora" and not facts.quantization else [],
        "lora": [({"method": "lora"}, tr("learns less new knowledge than all weights do; enough for most tasks"))]
        if config.method == "full" else [],
        "length": [({"max_length": n}, _cut(lengths, n, config)) for n in shorts],
        "optimizer": [({"optimizer": "paged_adamw_8bit" if device == "cuda" else "adamw_8bit"},
                       tr("the same result within noise"))]
        if config.optimizer in ("adamw_torch", "adamw_torch_fused") else [],
        "rank": [({"lora_rank": config.lora_rank // 2, "lora_alpha": max(1, config.lora_alpha // 2)},
                  tr("a smaller adapter learns a little less and saves very little memory"))]
        if config.has_adapter and config.lora_rank > 8 else [],
    }
    return {name: steps for name, steps in found.items() if steps}


def _cut(lengths: Sequence[int], limit: int, config: RunConfig) -> str:
    leaves_out = config.overlong_rows == LEAVE_OUT
    if not lengths:
        return tr("longer rows are left out") if leaves_out else tr("longer rows are cut at the end")
    cut = sum(length > limit for length in lengths)
    if cut and leaves_out:
        return tr("leaves out {cut:,} of {rows:,} rows", cut=cut, rows=len(lengths))
    return tr("cuts no row") if not cut else tr("cuts {cut:,} of {rows:,} rows at the end", cut=cut, rows=len(lengths))


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
        time: how long the whole run takes; None where nobody counted its rows.
        energy: what it draws; None if nobody knows.
    """

    best: Best
    device: str
    free: int | None
    time: TimeEstimate | None = None
    energy: Forecast | None = None

    @property
    def judgement(self) -> Judgement:
        """Whether it fits; it is advice, and a user may start all the same."""
        estimate, known = self.best.estimate, self.best.measured
        if known is not None and known.ran_out and (self.free is None or self.free <= known.peak_bytes):
            return Judgement(formula.NO, formula.TOO_LITTLE)
        return judge(estimate.low, estimate.high, self.free, self.time.low if self.time else None)

    def to_dict(self) -> dict[str, Any]:
        estimate, known = self.best.estimate, self.best.measured
        return {"low": estimate.low, "likely": estimate.total, "high": estimate.high, "device": self.device,
                "free": self.free, "fits": self.judgement.level, "reason": self.judgement.reason,
                "corrected_by": self.best.corrected_by, "measured_peak": known.peak_bytes if known else None,
                "ran_out": bool(known and known.ran_out), **(self.time.to_dict() if self.time else {})}


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


def look(facts: ModelFacts, config: RunConfig, machine: Machine, train_rows: int, tokens: int,
         evaluated: int | None = None) -> Outlook:
    """Memory, time and power of a run on this machine, as it is now.

    Args:
        train_rows: rows that it learns; `tokens`: of these rows.
        evaluated: rows that an evaluation reads, as `time_estimate.training` takes them.
    """
    known = measured.load()
    best = best_estimate(facts, config, machine, known)
    device, free = measured.free_on(config, machine)
    drawn, same = measured.drawn(facts, config, machine, known)
    expected = time_estimate.training(facts, config, machine, train_rows, tokens, evaluated, known)
    seconds = None if expected.source == ROUGH else expected.likely
    return Outlook(best, device, free, expected,
                   forecast(config, machine, device == "cuda", seconds, drawn, SAME if same else MACHINE))


def measure(facts: ModelFacts, config: RunConfig, machine: Machine, source: str, tokens: int, peak_bytes: int,
            row_tokens: float | None = None, evaluated: int = 0, **figures: Any) -> Measurement:
    """A measurement of now, with what the formulas say of just this run.

    Args:
        tokens: of the longest micro-batch, padding included; of pairs those of both answers.
        row_tokens: of a learned row, on average; `evaluated`: rows of an evaluation.
        figures: the other fields, as far as they are known.
    """
    length = -(-tokens // (config.micro_batch_size * sequences(config)))
    shape = formula.estimate(facts, replace(config, max_length=max(1, length)), measured.device_of(config, machine))
    if row_tokens is not None:
        figures |= {"operations": time_estimate.operations(facts, config, row_tokens)[0],
                    "evaluation_operations": sequences(config) * time_estimate.evaluation_operations(
                        facts, config, row_tokens, evaluated)}
    return measured.new(facts, config, machine, source, tokens=tokens, peak_bytes=peak_bytes,
                        parts_bytes=shape.total - shape.overhead, overhead_bytes=shape.overhead, **figures)


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
