"""Which ways of training a model has memory for on this machine, before anything of it is planned."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from slmstudio.core import units
from slmstudio.core.errors import UserError
from slmstudio.core.files import number
from slmstudio.core.hardware.guidance import USUAL_ROWS, USUAL_TOKENS
from slmstudio.core.hardware.machine import Machine, read_machine
from slmstudio.core.i18n import noop, tr
from slmstudio.core.jobs.job import Job
from slmstudio.core.jobs.outcome import Outcome
from slmstudio.core.model.facts import ModelFacts, read_model
from slmstudio.core.run import measured, time_estimate
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.curves import total_steps
from slmstudio.core.run.memory import formula
from slmstudio.core.run.memory.formula import COMFORTABLE, Judgement, MemoryEstimate, estimate, judge
from slmstudio.core.run.memory.outlook import measure
from slmstudio.core.run.rows import run_rows
from slmstudio.core.run.time_estimate import TimeEstimate

# -- What fits on which card: the longest rows of each method, before anybody buys or borrows one.

GB = 2**30
CARDS = {"8 GB": 8, "12 GB": 12, "16 GB": 16, "24 GB": 24, "48 GB": 48, "2 × 24 GB": 24}
"""Name, and GB of one card. Two cards share the rows of a batch (data-parallel): each holds the whole model, so that
what fits is what fits on one of them, and the gain is speed."""
METHODS = ("full", "lora", "qlora")
TAKEN = 600 * 2**20
"""What the driver and a display take of a card before anything runs: some 0.3 GB, and 0.3 to 1 GB with a desktop."""
SHORTEST = 256


@dataclass(frozen=True)
class CardRow:
    """One card.

    Attributes:
        memory: bytes of one card; `usable`: of them, without what the driver and a display take.
        longest: by method, the longest sequence length that surely fits; None if even 256 tokens don't.
    """

    card: str
    memory: int
    usable: int
    longest: dict[str, int | None]


def what_fits(facts: ModelFacts, config: RunConfig) -> list[CardRow]:
    """The longest sequence length by card and method: rows one by one, activations recomputed, everything else as in
    `config`; bf16, and for full fine-tuning AdamW in 8 bits.

    Lengths are powers of two and one and a half times those, up to the model's context.
    """
    rows = []
    for card, size in CARDS.items():
        usable = size * GB - TAKEN
        rows.append(CardRow(card, size * GB, usable,
                            {method: longest(facts, config, method, usable) for method in METHODS}))
    return rows


def longest(facts: ModelFacts, config: RunConfig, method: str, usable: int) -> int | None:
    """The longest sequence length at which a method fits into `usable` bytes of one GPU; None if none does."""
    asked = replace(config, method=method, device="cuda", precision="bf16", micro_batch_size=1,
                    gradient_accumulation_steps=max(1, config.effective_batch_size), gradient_checkpointing=True,
                    attention="sdpa", use_dora=config.use_dora and method != "full",
                    optimizer="paged_adamw_8bit" if method == "full" else "adamw_torch")
    fitting = [length for length in lengths(facts.context_length)
               if estimate(facts, replace(asked, max_length=length), "cuda").high <= usable]
    return max(fitting, default=None)


def lengths(context: int) -> Iterable[int]:
    """256, 384, 512, 768 ... up to the context, which is the last."""
    found, step = [], SHORTEST
    while step < context:
        found += [length for length in (step, step * 3 // 2) if length < context]
        step *= 2
    return [*found, context]


# -- What a fit check found, also where the system ended its worker because memory ran out.

EXPECTED = "fit_expected"
"""Type of the event with which a fit check begins: the estimate, and what is free."""


def of_figures(expected: dict[str, Any], peak: int, *, ran_out: bool = False, longest_tokens: int | None = None,
               seconds_per_step: float | None = None, seconds_per_evaluation: float | None = None,
               tokens_per_second: float | None = None) -> dict[str, Any]:
    """The result of a fit check.

    Args:
        expected: the fields of the `EXPECTED` event.
        peak: bytes at the peak; where memory ran out, the least that would have been taken.
        longest_tokens: of the longest micro-batch, padding included.
    """
    free = number(expected, "free")
    return {"estimate": {name: expected.get(name) for name in ("low", "likely", "high")}, "measured_peak": peak,
            "seconds_per_step": seconds_per_step, "seconds_per_evaluation": seconds_per_evaluation,
            "tokens_per_second": tokens_per_second, "longest_tokens": longest_tokens,
            "fits": not ran_out and (free is None or peak <= free), "free": free, "device": expected.get("device"),
            "ran_out": ran_out}


def of_job(job: Job, outcome: Outcome) -> dict[str, Any]:
    """The result of a fit check that has ended. A worker that the system killed for its memory ran out of it.

    Raises:
        UserError: it was cancelled or failed for another reason.
    """
    if outcome.was_successful():
        return outcome.result
    shutil.rmtree(job.folder / run_rows.FOLDER, ignore_errors=True)  # a worker that was killed leaves its rows
    if outcome.state == "cancelled":
        raise UserError(tr("The fit check was cancelled."))
    if outcome.state != "crashed" or not job.died_of_memory():
        raise outcome.user_error()
    expected: dict[str, Any] = {}
    peak = 0.0
    for event in job.events():
        if event.get("type") == EXPECTED:
            expected = event
        elif event.get("type") == "sensors":
            peak = max(peak, number(event, "process_memory") or 0.0)
    _keep(RunConfig.from_dict(job.request()["config"]), int(peak))
    return of_figures(expected, int(peak), ran_out=True)


def _keep(config: RunConfig, peak: int) -> None:
    """Keep with the machine what its worker couldn't."""
    with contextlib.suppress(UserError, OSError):
        measured.record(measure(read_model(Path(config.model)), config, read_machine(), "fit_check",
                                config.micro_batch_size * config.max_length, peak, ran_out=True))


LENGTH = 1024
"""Tokens of a row that a badge counts with: more than most questions with their answers have."""
MICRO_BATCHES = (4, 2, 1)
EVALUATIONS = 4
"""Evaluations of a usual run after its start."""
_BADGES = {"full": noop("fits full training"), "lora": noop("fits LoRA"), "qlora": noop("fits QLoRA")}
_OTHERS = {formula.LITTLE_ROOM: noop("tight"), formula.SLOW: noop("slow here"),
           formula.TOO_LITTLE: noop("needs {size}")}


@dataclass(frozen=True)
class Badge:
    """
    Attributes:
        method: the most that fits: "full" (every weight learns), "lora" or "qlora" (the base in 4 bits); where none
            does, the one that needs least.
        bytes: what that needs at its peak.
        judgement: whether that fits.
        time: what the rows take with it.
    """

    method: str
    bytes: int
    judgement: Judgement
    time: TimeEstimate

    @property
    def fits(self) -> bool:
        return self.judgement.fits

    @property
    def kind(self) -> str:
        """The method, where it fits, or why it doesn't: "little_room", "slow" or "too_little"."""
        return self.method if self.fits else self.judgement.reason

    def __str__(self) -> str:
        return tr(_BADGES[self.method] if self.fits else _OTHERS[self.judgement.reason],
                  size=units.format_bytes(self.bytes))


def badge(facts: ModelFacts, machine: Machine, rows: int = USUAL_ROWS, tokens: float = USUAL_TOKENS) -> Badge | None:
    """The badge of a model on this machine, with what is free on its first GPU, or in main memory without one. Takes
    about a millisecond.

    Args:
        rows: that are learned, once; `tokens`: of all of them.

    Returns:
        None if nobody says how much memory there is.
    """
    if not (free := _free(machine)):
        return None
    found = None
    for method in ("lora",) if facts.quantization else ("full", "lora", "qlora"):
        config, need = usual(facts, machine, method, rows)
        time = time_estimate.training(facts, config, machine, rows, tokens)
        found = Badge(method, need.high, judge(need.low, need.high, free, time.low), time)
        if found.fits:
            break
    return found


def usual(facts: ModelFacts, machine: Machine, method: str, rows: int = USUAL_ROWS, length: int = LENGTH,
          **fields: Any) -> tuple[RunConfig, MemoryEstimate]:
    """A run while none is planned, and what it takes: rows of up to `length` tokens, of which as many go through at
    once as fit, at most 4; where not even one fits, activations are computed again.

    Args:
        fields: others of the run.
    """
    gpu, free = machine.gpus, _free(machine)
    spare = gpu and method == "full" and spares_optimizer(facts.parameters, free)
    for micro in (*MICRO_BATCHES, 0):  # 0: one row, and its activations are computed again
        config = RunConfig(
            "x", str(facts.path), "x", method=method, max_length=min(length, facts.context_length),
            precision="bf16" if gpu or machine.cpu_bf16 else "fp32", micro_batch_size=max(1, micro),
            optimizer="paged_adamw_8bit" if spare else "adamw_torch", gradient_checkpointing=micro == 0, **fields)
        need = estimate(facts, config, "cuda" if gpu else "cpu")
        if need.high <= COMFORTABLE * free:
            break
    config = replace(config, epochs=usual_epochs(rows, bool(gpu)))
    return replace(config, eval_steps=max(1, total_steps(config, rows) // EVALUATIONS)), need


def usual_epochs(rows: int, on_gpu: bool) -> float:
    """How often a run learns this many rows, if nobody says: a processor has no time for more."""
    return 3.0 if on_gpu or rows < 100 else 2.0 if rows < 1_000 else 1.0


def spares_optimizer(parameters: int, free: int) -> bool:
    """Whether weights, gradients and AdamW's state in fp32 would take most of what is free on a GPU."""
    return 16 * parameters > 0.6 * free


def _free(machine: Machine) -> int:
    return (machine.gpus[0].memory_free if machine.gpus else machine.ram_free) or 0
