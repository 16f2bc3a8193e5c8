"""What the Model tab says about a model's memory, worked out off the UI thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slmstudio.core.data.reader import Dataset
    from slmstudio.core.hardware.machine import Machine
    from slmstudio.core.model.facts import ModelFacts
    from slmstudio.core.run.config import RunConfig
    from slmstudio.core.run.memory.cards import CardRow
    from slmstudio.core.run.memory.levers import Lever
    from slmstudio.core.run.memory.outlook import Best

@dataclass(frozen=True)
class Fit:
    """
    Attributes:
        config: the run that the figures are of.
        planned: it is what would be planned for the chosen data; otherwise a usual run.
        best: its memory.
        free: bytes that are free on `device`; None if nobody says.
        device: "cuda" or "cpu".
        levers: what would take less, the largest saving first.
        cards: the longest rows on other cards.
    """

    config: RunConfig
    planned: bool
    best: Best
    free: int | None
    device: str
    levers: list[Lever]
    cards: list[CardRow]


def planned(facts: ModelFacts, machine: Machine, dataset: Dataset, evaluation: Dataset | None,
            chosen: dict[str, object]) -> Fit:
    """The memory of the run that would be planned with this model, which is on the disk. Runs in a thread.

    Args:
        evaluation: rows of a file of their own that are never learned.
        chosen: fields that the user has decided.

    Raises:
        UserError: no run can be planned with these rows.
    """
    from slmstudio.core.data import given
    from slmstudio.core.run.planning import planner

    request = planner.PlanRequest(
        dataset, facts, machine, evaluation.path if evaluation is not None else None, chosen,
        eval_map=given.of(evaluation) if evaluation is not None else None,
        eval_rows=len(evaluation.records) if evaluation is not None else None)
    return _fit(facts, machine, planner.plan(request), True)


def usual(facts: ModelFacts, machine: Machine) -> Fit:
    """The memory of a usual run, while no data is chosen or the model isn't on the disk. Runs in a thread."""
    from slmstudio.core.run.memory import fit_badge

    narrow = (badge := fit_badge.badge(facts, machine)) and badge.kind not in ("full", "lora")
    config, _ = fit_badge.usual(facts, machine, "qlora" if narrow and not facts.quantization else "lora")
    return _fit(facts, machine, config, False)


def _fit(facts: ModelFacts, machine: Machine, config: RunConfig, is_planned: bool) -> Fit:
    from slmstudio.core.run.memory import levers, measured, outlook, what_fits

    device, free = measured.free_on(config, machine)
    savings = levers(facts, config, free, device) if free is not None else []
    return Fit(config, is_planned, outlook.best_estimate(facts, config, machine), free, device, savings,
               what_fits(facts, config))
