"""What would make a run need less memory, what each change saves, and the fewest that make it fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from slmstudio.core.model.facts import ModelFacts
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.memory.formula import estimate

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
        free: bytes that the run may fill.
        lengths: tokens of the rows, where they are known: a shorter length then says how many rows it cuts.
    """
    now = estimate(facts, config, device).high
    found = []
    for name, change, cost in _changes(facts, config, device, lengths):
        then = estimate(facts, replace(config, **change), device).high
        if now - then >= LEAST_SAVING:
            found.append(Lever(name, change, now - then, cost, then <= free))
    return sorted(found, key=lambda lever: -lever.saves)


def to_fit(facts: ModelFacts, config: RunConfig, free: int, device: str, found: Sequence[Lever]) -> list[Lever] | None:
    """The fewest of `found` that together make the run fit; of as many the ones that change what is learned least.

    Returns:
        An empty list where it fits already, None where all of them together don't make it fit.
    """
    if estimate(facts, config, device).high <= free:
        return []
    gentle = sorted(found, key=lambda lever: _HARM.index(lever.name))
    for count in range(1, len(gentle) + 1):
        for some in combinations(gentle, count):
            if estimate(facts, replace(config, **_together(some)), device).high <= free:
                return list(some)
    return None


_HARM = ("micro_batch", "checkpointing", "optimizer", "qlora", "rank", "lora", "length")
"""The levers, from those that change nothing of what is learned to those that do most."""


def _together(some: Sequence[Lever]) -> dict[str, Any]:
    return {field: value for lever in some for field, value in lever.change.items()}


def _changes(facts: ModelFacts, config: RunConfig, device: str,
             lengths: Sequence[int]) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Each lever that can be pulled: its name, its change, and what that costs."""
    least = 2 if config.objective == "kto" else 1
    if not config.gradient_checkpointing:
        yield "checkpointing", {"gradient_checkpointing": True}, "about a fifth slower, same result"
    if config.micro_batch_size > least:
        total = config.effective_batch_size
        fewer = next((n for n in range(config.micro_batch_size // 2, least - 1, -1) if total % n == 0), None)
        if fewer:
            yield ("micro_batch", {"micro_batch_size": fewer, "gradient_accumulation_steps": total // fewer},
                   "same effective batch and same result, a little slower on a GPU")
    if config.method == "lora" and not facts.quantization:
        yield "qlora", {"method": "qlora"}, "slower steps and a small loss in quality"
    if config.method == "full":
        yield "lora", {"method": "lora"}, "learns less new knowledge than all weights do; enough for most tasks"
    shorter = max(64, config.max_length // 2 // 64 * 64)
    if SHORTEST <= shorter < config.max_length:
        yield "length", {"max_length": shorter}, _cut(lengths, shorter)
    if config.optimizer in ("adamw_torch", "adamw_torch_fused"):
        yield ("optimizer", {"optimizer": "paged_adamw_8bit" if device == "cuda" else "adamw_8bit"},
               "the same result within noise")
    if config.has_adapter and config.lora_rank > 8:
        yield "rank", {"lora_rank": config.lora_rank // 2, "lora_alpha": max(1, config.lora_alpha // 2)}, \
            "a smaller adapter learns a little less, and the rank hardly matters for memory"


def _cut(lengths: Sequence[int], limit: int) -> str:
    if not lengths:
        return "longer rows are cut at the end"
    cut = sum(length > limit for length in lengths)
    return f"cuts {cut:,} of {len(lengths):,} rows at the end" if cut else "cuts no row"
