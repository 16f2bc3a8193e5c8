"""What is told of a model's memory, worked out off the UI thread."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
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
        planned: it is what would be planned for the chosen data; else a usual run.
        best: its memory.
        free: bytes that are free on `device`; None where nobody says.
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


def look(facts: ModelFacts, machine: Machine, dataset: Dataset | None, eval_file: Path | None,
         chat_template: str = "") -> Fit:
    """The memory of a run with this model. Runs in a thread.

    Args:
        dataset: the data that is chosen, for a model that is here to count its tokens; else None.
        chat_template: the named template that the person chose; "" for the model's own.

    Raises:
        UserError: no run can be planned with these rows.
    """
    from slmstudio.core.run import planner
    from slmstudio.core.run.memory import fit_badge, levers, measured, outlook, what_fits

    if dataset is not None:
        chosen = {"chat_template": chat_template} if chat_template else {}
        config = planner.plan(planner.PlanRequest(dataset, facts, machine, eval_file, chosen))
    else:
        narrow = (badge := fit_badge.badge(facts, machine)) and badge.kind not in ("full", "lora")
        config, _ = fit_badge.usual(facts, machine, "qlora" if narrow and not facts.quantization else "lora")
    device, free = measured.free_on(config, machine)
    known = outlook.best_estimate(facts, config, machine)
    savings = levers(facts, config, free, device) if free is not None else []
    return Fit(config, dataset is not None, known, free, device, savings, what_fits(facts, config))

