"""What the Model tab says about a model's memory, worked out off the UI thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slmstudio.core.data.reader import Dataset
    from slmstudio.core.hardware.machine import Machine
    from slmstudio.core.model.facts import ModelFacts
    from slmstudio.core.run.config import RunConfig
    from slmstudio.core.run.memory.fit_badge import CardRow
    from slmstudio.core.run.memory.formula import Judgement
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
        judgement: whether that fits; `seconds`: how long training takes, roughly.
        levers: what would take less, the largest saving first.
        cards: the longest rows on other cards.
    """

    config: RunConfig
    planned: bool
    best: Best
    free: int | None
    device: str
    judgement: Judgement
    seconds: float
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
    from slmstudio.core.run.planning.plan_inputs import PlanInputs
    from slmstudio.core.run.planning.planner import plan

    made = plan(PlanInputs(dataset, facts, machine, evaluation and evaluation.path, chosen,
                           eval_map=evaluation and evaluation.line,
                           eval_rows=evaluation and len(evaluation.records)))
    return _fit(facts, machine, made.config, made.counts.tokens * made.config.epochs, True)


def usual(facts: ModelFacts, machine: Machine) -> Fit:
    """The memory of a usual run, while no data is chosen or the model isn't on the disk. Runs in a thread."""
    from slmstudio.core.hardware.guidance import USUAL_TOKENS
    from slmstudio.core.run.memory import fit_badge

    badge = fit_badge.badge(facts, machine)
    config, _ = fit_badge.usual(facts, machine, "qlora" if badge and badge.method == "qlora" else "lora")
    return _fit(facts, machine, config, USUAL_TOKENS, False)


def _fit(facts: ModelFacts, machine: Machine, config: RunConfig, tokens: float, is_planned: bool) -> Fit:
    from slmstudio.core.hardware.guidance import rough_seconds
    from slmstudio.core.run.memory import measured, outlook
    from slmstudio.core.run.memory.fit_badge import what_fits
    from slmstudio.core.run.memory.formula import COMFORTABLE
    from slmstudio.core.run.memory.levers import levers

    device, free = measured.free_on(config, machine)
    best = outlook.best_estimate(facts, config, machine)
    seconds = rough_seconds(facts.parameters, tokens, machine, config.method, on_gpu=device == "cuda")
    found = outlook.Outlook(best, device, free, None, rough_seconds=seconds).judgement
    savings = levers(facts, config, int(COMFORTABLE * free), device) if free is not None else []
    return Fit(config, is_planned, best, free, device, found, seconds, savings, what_fits(facts, config))
