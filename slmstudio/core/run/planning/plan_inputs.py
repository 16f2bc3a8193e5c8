"""What a plan is made from, and what has been decided of it so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slmstudio.core.data import layouts, split
from slmstudio.core.data.reader import Dataset
from slmstudio.core.data.record import Record
from slmstudio.core.errors import Problem, UserError
from slmstudio.core.hardware.machine import Gpu, Machine
from slmstudio.core.i18n import join_sentences, tr
from slmstudio.core.model import named_templates, tokens
from slmstudio.core.model.facts import ModelFacts
from slmstudio.core.run import measured as measurements
from slmstudio.core.run.config import FIELDS, SET, RunConfig
from slmstudio.core.run.measured import Measurement
from slmstudio.core.run.memory import outlook
from slmstudio.core.run.planning import plan_rows, row_counts
from slmstudio.core.run.planning.row_counts import MeasuredRows
from slmstudio.core.run.rows.row_tokens import RowEncoder
from slmstudio.core.run.run_fields import METHOD_WORDS, PARALLELISM_WORDS


@dataclass(frozen=True)
class PlanInputs:
    """What a plan is made from.

    Attributes:
        machine: None is this one, read when the plan is made.
        eval_file: rows that are never learned; None splits them off the dataset.
        overrides: fields that the user decided, by name or by another trainer's name for them.
        measured: the rows as tokens, when that was done already.
        eval_map: what was said about the columns of `eval_file`, as `Dataset.line` has it.
        eval_rows: how many rows are in `eval_file`, when it was read already.
        split: share, seed and grouping of the rows that are held back, as chosen with the data.
        template: name of the chat template that was chosen with the model; "" if none was.
        after: folder of the finished run whose result the plan continues from.
    """

    dataset: Dataset = field(compare=False)
    model: ModelFacts
    machine: Machine | None = None
    eval_file: Path | None = None
    overrides: dict[str, Any] = field(default_factory=dict)
    measured: MeasuredRows | None = field(default=None, compare=False)
    eval_map: str | None = None
    eval_rows: int | None = None
    split: dict[str, Any] = field(default_factory=dict)
    template: str = ""
    after: Path | None = None

    @property
    def share_is_usual(self) -> bool:
        """Whether nobody chose the share that is held back: a plan says by itself why it is that."""
        return self.split.get("eval_fraction") == split.usual_share(len(self.dataset.records))


@dataclass
class Draft:
    """A plan while it is made.

    Attributes:
        chosen: what the user decided, by our names and in our types.
        measured: the rows as tokens.
        values, reasons: of the fields that are decided.
        problems: what was chosen and can't be.
        model: what learns: the base, or a small model with its architecture.
        gpu: what it learns on; None is the processor.
        rows, evaluated: those that are learned, and those that each evaluation reads; `batch`: of them in an update;
            `most_rows`: in a micro-batch, by their length.
        known: what was measured on this machine.
        without_eval: fields that mean nothing where no row is held back, and what the plan says about them.
    """

    inputs: PlanInputs
    machine: Machine
    chosen: dict[str, Any]
    measured: MeasuredRows
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
        self.dataset = self.inputs.dataset
        self.base = self.model = self.inputs.model

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


def parse_settings(settings: list[str]) -> dict[str, str]:
    """`["learning_rate=1e-4"]` as a dictionary.

    Raises:
        UserError: an entry without "=".
    """
    wrong = [Problem(tr('There is no "="; write FIELD=VALUE.'), field=entry) for entry in settings if "=" not in entry]
    if wrong:
        raise UserError(tr("Some settings can't be used."), "", tr("Correct them."), wrong)
    return dict(entry.split("=", 1) for entry in settings)


def overrides(raw: dict[str, Any]) -> dict[str, Any]:
    """The user's values under our names and in our types.

    Raises:
        UserError: unknown names and wrong values, all at once.
    """
    chosen: dict[str, Any] = {}
    ours = {alias: name for name, about in FIELDS.items() for alias in about.aliases}
    problems = []
    for given, value in raw.items():
        name = ours.get(given, given)
        if name not in FIELDS:
            problems.append(Problem(join_sentences(tr("It isn't a field of a run."), tr(
                "The fields are: {names}.", names=", ".join(FIELDS))), field=given))
            continue
        if name == "method" and str(value).strip().lower() in METHOD_WORDS:
            chosen |= METHOD_WORDS[str(value).strip().lower()]
            continue
        if name == "parallelism":
            value = PARALLELISM_WORDS.get(str(value).strip().lower(), value)
        try:
            chosen[name] = FIELDS[name].read(value)
        except ValueError as error:
            problems.append(Problem(str(error), field=given))
    if problems:
        raise UserError(tr("Some settings can't be used."), "", tr("Correct them."), problems)
    return chosen


def measure_rows(dataset: Dataset, model: ModelFacts, chosen: Mapping[str, Any] | None = None) -> MeasuredRows:
    """The rows as tokens, as the planned run will learn them.

    Args:
        chosen: fields that the user decided.

    Raises:
        UserError: the template doesn't take the rows.
    """
    chosen = chosen or {}
    name, _ = plan_rows.choose_template(dataset.records, model, chosen)
    plan_rows.check_tools(dataset.records, model, name)
    learning = {name: chosen[name] for name in ("objective", "completion_only_loss") if name in chosen}
    return measure_for(dataset.records, RunConfig(name="", model=str(model.path), train_file="", chat_template=name, **{
        "objective": layouts.objectives(dataset.layout)[0], **learning}))


def measure_for(records: Sequence[Record], config: RunConfig) -> MeasuredRows:
    """The rows as tokens, as a run learns them. Raises UserError, as `tokens.encode` does."""
    return row_counts.measure(records, RowEncoder(
        tokens.load_tokenizer(config.model), named_templates.optional_template(config.model, config.chat_template),
        config.objective, config.completion_only_loss))
