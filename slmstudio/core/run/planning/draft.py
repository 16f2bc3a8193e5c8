"""A plan while it is made: what it rests on, and what has been decided so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slmstudio.core.data.reader import Dataset
from slmstudio.core.errors import Problem
from slmstudio.core.hardware.machine import Gpu, Machine
from slmstudio.core.i18n import tr
from slmstudio.core.model.facts import ModelFacts
from slmstudio.core.run.config import SET, RunConfig
from slmstudio.core.run.memory import measured as measurements
from slmstudio.core.run.memory import outlook
from slmstudio.core.run.memory.measured import Measurement
from slmstudio.core.run.planning.row_counts import MeasuredRows


@dataclass
class Draft:
    """
    Attributes:
        eval_file: rows that are never learned; None splits them off the dataset.
        chosen: what the user decided, by our names and in our types.
        measured: the rows as tokens.
        eval_map: what was said about the columns of `eval_file`; None leaves them to their names.
        eval_rows: how many rows are in `eval_file`; None if nobody has read it.
        values, reasons: of the fields that are decided.
        problems: what was chosen and can't be.
        model: what learns: the base, or a small model with its architecture.
        gpu: what it learns on; None is the processor.
        rows, evaluated: those that are learned, and those that each evaluation reads; `batch`: of them in an update;
            `most_rows`: in a micro-batch, by their length.
        known: what was measured on this machine.
        without_eval: fields that mean nothing where no row is held back, and what the plan says about them.
    """

    dataset: Dataset
    base: ModelFacts
    machine: Machine
    eval_file: Path | None
    chosen: dict[str, Any]
    measured: MeasuredRows
    eval_map: str | None = None
    eval_rows: int | None = None
    values: dict[str, Any] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    gpu: Gpu | None = None
    rows: int = 0
    evaluated: int = 0
    batch: int = 0
    most_rows: int = 0
    without_eval: dict[str, str] = field(default_factory=dict)
    known: list[Measurement] = field(default_factory=measurements.load)

    def __post_init__(self) -> None:
        self.model = self.base

    def set(self, name: str, value: Any, reason: str) -> Any:
        """Take the user's value if there is one, else the proposal; keep the sentence."""
        if name in self.chosen:
            value, reason = self.chosen[name], tr(SET)
        self.values[name], self.reasons[name] = value, reason
        return value

    def need(self, config: RunConfig) -> int:
        """Bytes that a run of the base model takes at most."""
        return outlook.best_estimate(self.base, config, self.machine, self.known).estimate.high

    @property
    def is_ampere(self) -> bool:
        """Whether the card is of that generation or a later one."""
        return self.gpu is not None and (self.gpu.compute_capability or (0, 0)) >= (8, 0)

    @property
    def least_rows(self) -> int:
        """Of a micro-batch: KTO compares rows within one."""
        return 2 if self.values["objective"] == "kto" else 1

    @property
    def free_memory(self) -> int:
        """Bytes free where the model will be; 0 if nobody says."""
        return (self.machine.free_on_cards(self.values["processes"]) if self.gpu else self.machine.ram_free) or 0
