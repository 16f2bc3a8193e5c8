"""How strongly the result applies its adapter, chosen by the loss on held-out rows.

From the base model (0) to what was trained (1), an adapter's change of the weights is a straight line, and the loss
along it is smooth. Steps that were too large or too many for the rows leave its lowest point before 1, so going back
on the line undoes much of an overfit, often more than an earlier checkpoint does (Wortsman et al. 2022, arXiv
2109.01903).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from slmstudio.core.run.curves import STRONGER, WEAKER

FULL = 1.0
_LAST_FACTOR = ("lora_B", "lora_embedding_B")


def search(loss_at: Callable[[float], float], full: float) -> dict[float, float]:
    """Losses by strength, as far as they were needed to find the lowest.

    Args:
        loss_at: eval loss at a strength, in nats per token.
        full: the one that is known already, at full strength.
    """
    losses, best = {FULL: full}, full
    for strength in WEAKER:
        losses[strength] = loss_at(strength)
        if not losses[strength] < best:
            break
        best = losses[strength]
    if best == full:
        losses[STRONGER] = loss_at(STRONGER)
    return losses


def choose(model: torch.nn.Module, loss: Callable[[], float], full: float,
           loss_of_some: Callable[[], float] | None = None) -> dict[float, float]:
    """As `search`, with the weights of `model`, which keep the strength that is best.

    Args:
        loss: evaluates the model as it is.
        full: what it says of the model now.
        loss_of_some: the same with fewer rows, where there are many; then the losses that are returned are those of
            all rows, at full strength and at what is best for these.
    """
    factors = [(weight, weight.detach().clone()) for name, weight in model.named_parameters()
               if weight.requires_grad and any(factor in name for factor in _LAST_FACTOR)]

    def apply(strength: float) -> None:
        with torch.no_grad():
            for weight, trained in factors:
                weight.copy_(trained * strength)

    def loss_at(strength: float, measure: Callable[[], float] = loss_of_some or loss) -> float:
        apply(strength)
        return measure()

    losses = {FULL: full}
    if math.isfinite(full):
        losses = search(loss_at, full if loss_of_some is None else loss_at(FULL))
    if loss_of_some is not None:
        best = best_of(losses)
        losses = {FULL: full} | ({best: loss_at(best, loss)} if best != FULL else {})
    apply(best_of(losses))
    return losses


def best_of(losses: dict[float, float]) -> float:
    """The strength with the lowest loss; the full one where none was measured."""
    return min(losses, key=lambda each: losses[each] if math.isfinite(losses[each]) else math.inf, default=FULL)
