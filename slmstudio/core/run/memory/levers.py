"""What would make a run need less memory, what each change saves, and the fewest that make it fit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import Any

from slmstudio.core.i18n import tr
from slmstudio.core.model.facts import ModelFacts
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.memory.formula import estimate
from slmstudio.core.run.run_fields import LEAVE_OUT

SHORTEST = 128
"""No length below this is proposed: too little of a row would be left."""
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
