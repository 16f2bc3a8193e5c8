"""Watches the eval loss: which evaluation was the best, when overfitting began, when to end."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from slmstudio.core.i18n import ntr, tr

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

    def turned(self) -> str | None:
        """A sentence when the eval loss has just turned upwards, once for each turn."""
        if self.worse < TURNED_AFTER or self.best_step is None or self.best_step in self._told_of:
            return None
        self._told_of.add(self.best_step)
        if self.best_step == 0:
            return tr("Eval loss was lowest before training ({best_loss:.3f}): so far, the model only gets worse on "
                      "rows it isn't trained on. Lower the learning rate, or check whether the two files are alike.",
                      best_loss=self.best_loss)
        return tr("Eval loss was lowest at step {best_step:,} ({best_loss:.3f}) and has risen since: the model is "
                  "starting to overfit. More or different rows help, or fewer epochs.", best_step=self.best_step,
                  best_loss=self.best_loss)

    def wants_to_stop(self) -> str | None:
        """A sentence when patience is at its end."""
        if not self.patience or self.worse < self.patience or self.best_step is None:
            return None
        return ntr("Stopped early: {n} evaluation was no better than the one at step {best_step:,} ({best_loss:.3f}).",
                   "Stopped early: {n} evaluations in a row were no better than the one at step {best_step:,} "
                   "({best_loss:.3f}).", self.worse, best_step=self.best_step, best_loss=self.best_loss)
