"""What TRL notes of each micro-batch beside its loss, averaged over all ranks as one process would."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from slmstudio.worker.runtime import ranks

NOTED = ("_metrics", "_stored_metrics")
"""Where TRL's trainers keep lists of figures: by "train" or "eval", then by their names."""


class Figures:
    """A trainer's figures, taken from it after each micro-batch; their means are given back before they are logged."""

    def __init__(self) -> None:
        self._taken: dict[str, list[tuple[float, float]]] = defaultdict(list)

    def take(self, trainer: Any, mode: str, weight: float) -> None:
        """Take what was noted since the last time; a `weight` of 0 drops it."""
        for name, values in _noted(trainer)[mode].items():
            self._taken[name] += [(float(value), weight) for value in values if weight]
        _noted(trainer)[mode].clear()

    def give_back(self, trainer: Any, mode: str) -> None:
        """Give back the mean of each figure over all ranks."""
        merged: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for each in ranks.gather(dict(self._taken)):
            for name, values in each.items():
                merged[name] += values
        self._taken.clear()
        for name, values in merged.items():
            _noted(trainer)[mode][name] = [sum(value * weight for value, weight in values)
                                           / sum(weight for _, weight in values)]


def _noted(trainer: Any) -> Any:
    return next(getattr(trainer, name) for name in NOTED if hasattr(trainer, name))
