"""Makes the plan of a run, in a thread of the pool: what it is made from, and the result."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slmstudio.core.i18n import join_sentences, tr
from slmstudio.core.run.config import RunConfig

if TYPE_CHECKING:
    from slmstudio.core.data.reader import Dataset
    from slmstudio.core.hardware.machine import Machine
    from slmstudio.core.model.facts import ModelFacts
    from slmstudio.core.run.memory.outlook import Outlook
    from slmstudio.core.run.planning.row_counts import LostRows, MeasuredRows, RowCounts


@dataclass(frozen=True)
class Earlier:
    """The finished run whose result a plan continues from.

    Attributes:
        model: folder of its base model.
    """

    folder: Path
    name: str
    model: str


@dataclass(frozen=True)
class PlanInputs:
    """What a plan is made from.

    Attributes:
        eval_file: rows of a file of their own; None splits them off.
        split: share and seed of that split, chosen in the Data tab.
        own: fields that were changed in the plan itself.
        template: what the Model tab chose, as a field; empty if it chose nothing.
        after: the finished run whose result the plan continues from.
        files: name and checksum of the data, and what was said about its columns, by which two wishes are compared.
        eval_rows: how many rows are in `eval_file`.
    """

    dataset: Dataset = field(compare=False)
    model: ModelFacts
    machine: Machine | None
    eval_file: Path | None
    split: dict[str, Any]
    own: dict[str, Any]
    template: dict[str, str]
    after: Earlier | None
    files: tuple[tuple[Path, str, str | None], ...]
    eval_rows: int | None

    @property
    def share_is_usual(self) -> bool:
        """Whether nobody chose the share that is held back: a plan says by itself why it is that."""
        from slmstudio.core.data.split import usual_share

        return self.split.get("eval_fraction") == usual_share(len(self.dataset.records))

    def measured_by(self) -> tuple[Any, ...]:
        """What decides how the rows become tokens."""
        chosen = self.template | self.own
        return (self.files[0], self.model.path, self.after, *(
            chosen.get(name) for name in ("chat_template", "objective", "completion_only_loss")))

    @property
    def maps(self) -> list[str | None]:
        """What was said about the columns of the rows to learn, and of the evaluation file."""
        return [*(said for _, _, said in self.files), None][:2]


@dataclass(frozen=True)
class PlanResult:
    """
    Attributes:
        measured: the rows as tokens; `of`: what decided them.
        lost: what the run would lose of its rows.
    """

    config: RunConfig
    measured: MeasuredRows
    of: tuple[Any, ...]
    counts: RowCounts
    lost: LostRows | None
    objectives: tuple[str, ...]
    outlook: Outlook


def plan(wish: PlanInputs, known: PlanResult | None) -> PlanResult:
    """Plan in a thread of the pool.

    Args:
        known: the plan before, whose rows may be measured already.
    """
    from slmstudio.core.data.layouts import objectives
    from slmstudio.core.hardware.machine import read_machine
    from slmstudio.core.run.memory.outlook import look
    from slmstudio.core.run.planning import row_counts

    machine, rows, of = wish.machine or read_machine(), wish.dataset.records, wish.measured_by()
    measured = known.measured if known is not None and known.of == of else None
    config, measured = (_continue(wish, wish.after, measured) if wish.after is not None else
                        _propose(wish, machine, measured))
    counts = row_counts.count(rows, measured, config)
    lost = row_counts.lost(rows, measured, counts, wish.model, config, machine)
    return PlanResult(config, measured, of, counts, lost, tuple(objectives(wish.dataset.layout)),
                  look(wish.model, config, machine, counts.learned, counts.tokens))


def _propose(wish: PlanInputs, machine: Machine, measured: MeasuredRows | None) -> tuple[RunConfig, MeasuredRows]:
    from slmstudio.core.run.planning import planner
    from slmstudio.core.run.planning.plan_rows import template_warnings

    split = {name: value for name, value in wish.split.items() if name != "eval_fraction" or not wish.share_is_usual}
    chosen = {**split, **wish.template, **wish.own}
    measured = measured or planner.measure_rows(wish.dataset, wish.model, planner.overrides(chosen))
    config = planner.plan(planner.PlanRequest(
        wish.dataset, wish.model, machine, wish.eval_file, chosen, measured, wish.maps[1], wish.eval_rows))
    if wish.template and "chat_template" not in wish.own:
        config.reasons["chat_template"] = join_sentences(tr("Chosen with the model."), *template_warnings(config))
        config.chosen = [name for name in config.chosen if name != "chat_template"]
    return _of_the_data_tab(config, split.keys() - wish.own.keys()), measured


def _continue(wish: PlanInputs, after: Earlier, measured: MeasuredRows | None) -> tuple[RunConfig, MeasuredRows]:
    """The earlier run's rows keep their split; others are split as the Data tab says."""
    from slmstudio.core.jobs.job import Job
    from slmstudio.core.run.curves import divided
    from slmstudio.core.run.planning.follow_up import follow_up
    from slmstudio.core.run.planning.plan_rows import what_is_held_back
    from slmstudio.core.run.planning.planner import measure_for

    earlier = RunConfig.from_dict(Job(after.folder).request())
    train_map, eval_map = wish.maps
    same = Path(earlier.train_file) == Path(wish.dataset.path) and earlier.train_map == train_map
    split = {} if same or earlier.eval_file else wish.split
    maps = {name: said for name, said, is_new in (
        ("train_map", train_map, not same), ("eval_map", eval_map, wish.eval_file is not None)) if said and is_new}
    config = follow_up(after.folder, train_file=None if same else wish.dataset.path, eval_file=wish.eval_file,
                       overrides={**split, **maps, **wish.own}, records=wish.dataset.records,
                       eval_rows=wish.eval_rows, measured=measured)
    config = _of_the_data_tab(config, (split | maps).keys() - wish.own.keys())
    if split and wish.share_is_usual and "eval_fraction" not in wish.own:
        rows = wish.dataset.records
        config.reasons["eval_fraction"] = what_is_held_back(divided(rows, config)[1], len(rows))
    return config, measured or measure_for(wish.dataset.records, config)


def _of_the_data_tab(config: RunConfig, names: set[str]) -> RunConfig:
    for name in names:
        config.reasons[name] = tr("Chosen with the data.")
    config.chosen = [name for name in config.chosen if name not in names]
    return config
