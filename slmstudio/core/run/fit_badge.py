"""Which ways of training a model has memory for on this machine, in one word beside its name in a list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from slmstudio.core import units
from slmstudio.core.hardware.machine import Machine
from slmstudio.core.model.facts import ModelFacts
from slmstudio.core.run import memory
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.proposal import PHYSICAL_SHARE, spares_optimizer

LENGTH = 1024
"""Tokens of a row that a badge counts with: more than most questions with their answers have."""
MICRO_BATCHES = (4, 2, 1)


@dataclass(frozen=True)
class Badge:
    """
    Attributes:
        kind: the most that fits: "full" (every weight learns), "lora", "qlora" (the base in 4 bits), "tight" (QLoRA, if
            the estimate isn't too low) or "no".
        bytes: what that needs at its peak, or for "no" what the least needs.
    """

    kind: str
    bytes: int

    @property
    def fits(self) -> bool:
        return self.kind in ("full", "lora", "qlora")

    def __str__(self) -> str:
        return {"full": "fits full training", "lora": "fits LoRA", "qlora": "fits QLoRA", "tight": "tight with QLoRA",
                "no": f"needs {units.format_bytes(self.bytes)}"}[self.kind]


def badge(facts: ModelFacts, machine: Machine) -> Badge | None:
    """The badge of a model on this machine, with what is free on its first GPU, or in main memory without one.

    Rows of up to `LENGTH` tokens are learned, of which as many go through at once as the planner would take, at most 4;
    where not even one fits, activations are computed again. Takes under a millisecond.

    Returns:
        None where nobody says how much memory there is.
    """
    gpu = machine.gpus[0] if machine.gpus else None
    free = (gpu.memory_free if gpu else machine.ram_free) or 0
    if not free:
        return None
    known: dict[str, Any] = {
        "name": "x", "model": str(facts.path), "train_file": "x", "max_length": min(LENGTH, facts.context_length),
        "precision": "bf16" if gpu or machine.cpu_bf16 else "fp32"}
    methods = ("lora",) if facts.quantization else ("full", "lora", "qlora")
    for method in methods:
        optimizer = ("paged_adamw_8bit" if gpu and method == "full" and spares_optimizer(facts.parameters, free)
                     else "adamw_torch")
        for micro in (*MICRO_BATCHES, 0):  # 0: one row, and its activations are computed again
            config = RunConfig(**known, method=method, optimizer=optimizer, micro_batch_size=max(1, micro),
                               gradient_checkpointing=micro == 0)
            need = memory.estimate(facts, config, "cuda" if gpu else "cpu")
            if need.high <= free * PHYSICAL_SHARE:
                return Badge(method, need.high)
    return Badge("tight", need.total) if need.total <= free * PHYSICAL_SHARE else Badge("no", need.high)
