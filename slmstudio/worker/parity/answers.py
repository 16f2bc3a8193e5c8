"""How far a GGUF's predictions are from the fine-tuned model's, where answers are predicted."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from slmstudio.worker.model.base_weights import Array
from slmstudio.worker.parity.llama_file import LlamaLogits
from slmstudio.worker.parity.reference import Reference
from slmstudio.worker.runtime.context import JobContext

NEAR_TIE = 0.01
"""Two choices whose logits differ by less than this share of the logits' spread: F16 arithmetic alone swaps them."""
REROUTED, REROUTED_SHARE = 1000.0, 0.02
"""Where a router's two experts are nearly equal, rounding alone chooses the other one, and all logits there differ: by
this many times as much as usual, at not more than this share of the positions."""


@dataclass
class _Sums:
    errors: list[float] = field(default_factory=list)
    powers: list[float] = field(default_factory=list)
    equal: int = 0
    near: int = 0
    divergence: float = 0.0

    def add(self, ours: Array, theirs: Array) -> tuple[Array, Array]:
        """Add one position; returns the logarithms of both probabilities, float64 (vocabulary,)."""
        first, second = int(ours.argmax()), int(theirs.argmax())
        ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
        ours -= ours.mean()
        theirs -= theirs.mean()
        self.errors.append(float(np.square(ours - theirs).sum()))
        self.powers.append(float(np.square(ours).sum()))
        self.equal += first == second
        self.near += first != second and bool(ours[first] - ours[second] < NEAR_TIE * ours.std())
        ours -= _log_sum_exp(ours)
        theirs -= _log_sum_exp(theirs)
        self.divergence += float(np.exp(ours) @ (ours - theirs))
        return ours, theirs

    def nmse(self, experts: bool) -> tuple[float, int]:
        """The error, and at how many positions another expert was chosen, which don't count in it."""
        shares = np.array(self.errors) / self.powers
        order = np.argsort(shares)
        allowed = math.ceil(REROUTED_SHARE * len(order)) if experts else 0
        left_out = [at for at in order[len(order) - allowed:] if shares[at] > REROUTED * np.median(shares)]
        kept = np.setdiff1d(order, left_out)
        return float(np.take(self.errors, kept).sum() / np.take(self.powers, kept).sum()), len(left_out)


def compare(job: JobContext, reference: Reference, logits: LlamaLogits) -> dict[str, Any]:
    """Teacher-forced, position by position.

    NMSE = Σ(a - b)² / Σa² over the whole vocabulary, where each position's mean is taken off first: softmax doesn't
    see it, and a large common offset would hide differences. KL divergence: mean of Σ p·ln(p/q), p the fine-tuned
    model's. Perplexity: exp of the mean of -ln p(right token), over the user's rows where there are any.

    In a model with experts, positions at which another expert was chosen don't count in NMSE (`REROUTED`).

    Returns:
        `{"positions", "nmse", "rerouted", "top1", "near_ties", "kl", "perplexity_reference", "perplexity",
        "perplexity_change", "perplexity_positions"}`, the figures None if no row was measured.
    """
    sums = _Sums()
    losses: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    for row in reference.rows:
        job.check_cancelled()
        targets = row.ids[row.answer + 1:]
        for ours, theirs, target in zip(row.logits, logits.after(row.ids[:-1], row.answer), targets, strict=True):
            size = min(len(ours), len(theirs))  # either may have rows for tokens that don't exist
            known, found = sums.add(ours[:size], theirs[:size])
            losses[row.own].append((-known[target], -found[target]))
    counted = losses[True] or losses[False]
    if not counted:
        names = ("nmse", "top1", "near_ties", "kl", "perplexity_reference", "perplexity", "perplexity_change")
        return {"positions": 0, "rerouted": 0, **dict.fromkeys(names), "perplexity_positions": 0}
    ours, theirs = (float(np.mean(column)) for column in zip(*counted, strict=True))
    nmse, rerouted = sums.nmse("expert_count" in reference.settings)
    positions = len(sums.errors)
    return {"positions": positions, "nmse": nmse, "rerouted": rerouted, "top1": sums.equal / positions,
            "near_ties": sums.near, "kl": max(0.0, sums.divergence / positions),
            "perplexity_reference": _exp(ours), "perplexity": _exp(theirs),
            "perplexity_change": _exp(theirs - ours) - 1, "perplexity_positions": len(counted)}


def _log_sum_exp(values: Array) -> float:
    most = values.max()
    return float(most + np.log(np.exp(values - most).sum()))


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf
