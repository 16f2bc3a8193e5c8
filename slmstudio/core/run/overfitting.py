"""Watches the eval loss: which evaluation was the best, when overfitting began, when to end."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

TURNED_AFTER = 2
"""Evaluations in a row above the best before it is called a turn; a single one may be chance."""


@dataclass
class EvalWatch:
    """Takes the evaluations of a run in their order.

    Attributes:
        patience: evaluations in a row without a better loss after which the run ends; 0 is never.
        best_step, best_loss: of the best evaluation so far; None before the first.
        worse: evaluations since the best one.
    """

    patience: int
    best_step: int | None = None
    best_loss: float | None = None
    worse: int = 0
    _told_of: set[int] = field(default_factory=set)

    def update(self, step: int, loss: float) -> bool:
        """Take an evaluation; whether it is the best so far. A loss that isn't a number never is."""
        if math.isfinite(loss) and (self.best_loss is None or loss < self.best_loss):
            self.best_step, self.best_loss, self.worse = step, loss, 0
            return True
        self.worse += 1
        return False

    def turned(self) -> bool:
        """Whether the eval loss has just turned upwards, once for each turn."""
        if self.worse < TURNED_AFTER or self.best_step is None or self.best_step in self._told_of:
            return False
        self._told_of.add(self.best_step)
        return True

    def wants_to_stop(self) -> bool:
        """Whether patience is at its end."""
        return 0 < self.patience <= self.worse and self.best_step is not None
