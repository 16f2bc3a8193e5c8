"""What fits on which card: the longest rows of each method, before anybody buys or borrows one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from slmstudio.core.model.facts import ModelFacts
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.memory.formula import estimate

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
