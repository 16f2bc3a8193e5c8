"""How long training, answering, exporting and downloading take, before they begin: a range of seconds and what it rests
on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from slmstudio.core import units
from slmstudio.core.hardware.guidance import rough_seconds
from slmstudio.core.hardware.machine import Machine
from slmstudio.core.i18n import tr
from slmstudio.core.model.facts import ModelFacts
from slmstudio.core.run.config import RunConfig

MEASURED, ALIKE, SCALED, ROUGH = "measured", "alike", "scaled", "rough"
"""What an estimate rests on: a trial of this very run, a run with the same model and settings, runs of other models on
this machine (scaled by the operations that a token takes), or the kind of machine alone."""
SPREAD = {MEASURED: 1.1, ALIKE: 1.2, SCALED: 1.4, ROUGH: 3.0}
"""The range goes from the likely time divided by this to the likely time multiplied by it."""


@dataclass(frozen=True)
class TimeEstimate:
    """
    Attributes:
        low, high: seconds.
        source: what it rests on, one of the words above.
    """

    low: float
    high: float
    source: str

    @classmethod
    def around(cls, likely: float, source: str) -> TimeEstimate:
        """A range around the likely seconds, as wide as the source is uncertain."""
        return cls(likely / SPREAD[source], likely * SPREAD[source], source)

    @property
    def likely(self) -> float:
        """Seconds in the middle of the range, by proportion."""
        return math.sqrt(self.low * self.high)

    def text(self) -> str:
        """"about 25 min"."""
        return units.format_about(self.likely)

    def to_dict(self) -> dict[str, Any]:
        return {"seconds_low": self.low, "seconds_high": self.high, "time_source": self.source}

    def plus(self, other: TimeEstimate) -> TimeEstimate:
        """One after the other; it rests on the weaker of the two sources."""
        order = (MEASURED, ALIKE, SCALED, ROUGH)
        return TimeEstimate(self.low + other.low, self.high + other.high,
                            max(self.source, other.source, key=order.index))


def training(facts: ModelFacts, config: RunConfig, machine: Machine, train_rows: int, tokens: float) -> TimeEstimate:
    """The time of a whole run, with its evaluations of the loss.

    Args:
        facts: of a model on the disk, or of one in the catalogue.
        train_rows: rows that it learns; `tokens`: of these rows, once.
    """
    from slmstudio.core.run.memory import measured

    seconds = rough_seconds(facts.parameters, config.epochs * tokens, machine, config.method,
                            on_gpu=measured.device_of(config, machine) == "cuda")
    return TimeEstimate.around(seconds, ROUGH)


def answering(facts: ModelFacts, machine: Machine, answers: int, tokens: float) -> TimeEstimate:
    """The time in which a model writes answers in batches, as an evaluation does.

    Args:
        answers: how many; `tokens`: of one question with its answer, on average.
    """
    return TimeEstimate.around(rough_seconds(facts.parameters, answers * tokens, machine, "lora"), ROUGH)


def exporting(facts: ModelFacts, machine: Machine) -> TimeEstimate:
    """The time of an export to GGUF with its proof."""
    return TimeEstimate.around(60 + facts.parameters / 50e6, ROUGH)


def source_text(estimate: TimeEstimate) -> str:
    """What an estimate rests on, in a few words."""
    return {MEASURED: tr("measured on this machine"), ALIKE: tr("as long as the last such run took"),
            SCALED: tr("scaled from other runs on this machine"),
            ROUGH: tr("a rough estimate from the kind of machine")}[estimate.source]
