"""Keeps the plan in step with the data, the model, the machine and the user's changes, off the UI thread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Signal

from slmstudio.core.errors import Problem, UserError
from slmstudio.core.i18n import together, tr
from slmstudio.core.run.config import FIELDS, RunConfig
from slmstudio.core.run.fields.choices import VARIANTS
from slmstudio.gui.common.plan_fields import VARIANT_FLAGS
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.tasks import TaskSlot

if TYPE_CHECKING:
    from slmstudio.core.data.reader import Dataset
    from slmstudio.core.hardware.machine import Machine
    from slmstudio.core.model.facts import ModelFacts
    from slmstudio.core.run.memory.outlook import Outlook


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
class _Wish:
    """What a plan is made from.

    Attributes:
        eval_file: rows of a file of their own; None splits them off.
        split: share and seed of that split, chosen in the Data tab.
        own: fields that were changed in the plan itself.
        template: what the Model tab chose, as a field; empty where it chose nothing.
        after: the finished run whose result the plan continues from.
        files: name and checksum of the data, and what was said of its columns, by which two wishes are compared.
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

    @property
    def maps(self) -> list[str | None]:
        """What was said of the columns of the rows to learn, and of the evaluation file."""
        return [*(said for _, _, said in self.files), None][:2]


@dataclass(frozen=True)
class _Answer:
    config: RunConfig
    lengths: list[int] | None
    train_rows: int
    objectives: tuple[str, ...]
    outlook: Outlook


class Planning(QObject):
    """Plans, and plans again when something it rests on has changed.

    Attributes:
        config, train_rows: the newest plan, and how many rows it learns; None before there is one.
        outlook: the memory and the time that it takes.
        objectives: what the data can teach.
        after: the run that the plan continues from, as long as its base model is chosen; None plans from the base.
        overrides: what the user decided, by field.
        active: whether a plan is wanted; not while a run is shown instead.

    Signals:
        active_changed(bool): `active` is different now.
        planned: `config` and `train_rows` are different now.
        confirmed: `config` is to be shown again; what the user typed last changed nothing of it.
        refused(list[Problem]): no plan could be made: what is wrong with which field; `failed` told anything else.
            `config` is the plan before. It comes after each `confirmed` as long as that is so.
        failed(Exception): no plan can be made, for a reason that belongs to no field.
    """

    active_changed = Signal(bool)
    planned = Signal()
    confirmed = Signal()
    refused = Signal(list)
    failed = Signal(object)

    def __init__(self, session: Session, parent: QObject | None = None):
        super().__init__(parent)
        self.config: RunConfig | None = None
        self.train_rows: int | None = None
        self.outlook: Outlook | None = None
        self.objectives: tuple[str, ...] = ()
        self.after: Earlier | None = None
        self.overrides: dict[str, Any] = {}
        self.active = True
        self._session = session
        self._lengths: tuple[Any, list[int]] | None = None
        self._made_for: _Wish | None = None
        self._task = TaskSlot()
        self._refused: list[Problem] | None = None
        session.machine_changed.connect(self.refresh)
        session.template_changed.connect(self.refresh)

    def is_busy(self) -> bool:
        """Whether a plan is being made: `config` is the one before."""
        return self._task.is_busy()

    def can_start(self) -> bool:
        """Whether `config` is the plan of what is chosen now, or will be as soon as it is made."""
        return self.active and (self.is_busy() or (self.config is not None and self._refused is None))

    def set_active(self, on: bool) -> None:
        """Plan from now on, or leave the plan as it is."""
        self.active = on
        self.active_changed.emit(on)

    def decide(self, name: str, value: Any) -> None:
        """The user wants this value of a field; of `method`, one of `VARIANTS`."""
        if name != "method":
            self.overrides[name] = value
        elif value in VARIANTS:
            self._forget_method()
            self.overrides |= VARIANTS[value]
        self.refresh()

    def propose(self, name: str) -> None:
        """The user leaves a field to the plan again."""
        self.overrides.pop(name, None)
        if name == "method":
            self._forget_method()
        self.refresh()

    def _forget_method(self) -> None:
        for name in ("method", *VARIANT_FLAGS):
            self.overrides.pop(name, None)

    def go_on_from(self, run: Earlier | None, changes: Mapping[str, Any] | None = None) -> None:
        """Plan a run that continues from what a finished one learned; None plans from the base model again.

        Args:
            changes: fields that the user wants to have values other than those proposed.
        """
        self.after = run
        self.overrides = dict(changes or {})
        self.refresh()

    def take_over(self, other: Planning) -> None:
        """Plan what another one plans."""
        self.after, self.overrides = other.after, dict(other.overrides)
        self.refresh()

    def look_again(self) -> None:
        """More is known of what the plan takes: plan with that."""
        self._made_for = None
        self.refresh()

    def refresh(self) -> None:
        """Plan again, unless the plan is of just this already, or none is wanted."""
        if not self.active:
            return
        session = self._session
        dataset, model = session.dataset, session.model
        if dataset is None or model is None:
            self.config = self.train_rows = self.outlook = None
            self._made_for = None
            return
        if self.after is not None and Path(self.after.model) != Path(model.path):
            self.after = None
        wish = self._wish(dataset, model)
        if wish == self._made_for:
            if self.config is not None and not self.is_busy():
                self.confirmed.emit()
                if self._refused is not None:
                    self.refused.emit(self._refused)
            return
        self._made_for = wish
        self._task.cancel()
        if problems := self._problems():
            self._fail(UserError(tr("The plan can't be used."), tr("Some values are wrong."), tr("Correct them."),
                                 problems))
            return
        about = (dataset.sha256, wish.maps[0], model.path, (wish.template | wish.own).get("chat_template"))
        lengths = self._lengths[1] if self._lengths and self._lengths[0] == about else None

        def done(answer: _Answer) -> None:
            self._refused = None
            self._lengths = (about, answer.lengths) if answer.lengths is not None else self._lengths
            self.config, self.train_rows, self.outlook = answer.config, answer.train_rows, answer.outlook
            self.objectives = answer.objectives
            self.planned.emit()

        self._task.run(self, lambda task: _plan(wish, lengths), done, self._fail)

    def _wish(self, dataset: Dataset, model: ModelFacts) -> _Wish:
        """What a plan would be made from now."""
        from slmstudio.core.data import given

        session = self._session
        template = session.chat_template_of(model.path)
        eval_dataset = session.eval_dataset
        split = {} if eval_dataset is not None else {
            "eval_fraction": session.eval_fraction, "split_seed": session.split_seed, "split_by": session.split_by}
        files = tuple((each.path, each.sha256, given.of(each)) for each in (dataset, eval_dataset) if each is not None)
        return _Wish(dataset, model, session.machine, eval_dataset.path if eval_dataset else None, split,
                     dict(self.overrides), {"chat_template": template} if template else {}, self.after, files,
                     len(eval_dataset.records) if eval_dataset else None)

    def _problems(self) -> list[Problem]:
        """Everything wrong with what the user typed: no number where one belongs, and numbers out of range."""
        problems, values = [], {}
        for name, value in self.overrides.items():
            try:
                values[name] = FIELDS[name].read(value)
            except ValueError as error:
                problems.append(Problem(str(error), field=name))
        # Measured against the defaults: the plan before may hold values that were the user's and no longer are.
        return problems + RunConfig(**{"name": "x", "model": "x", "train_file": "x", **values}).problems()

    def _fail(self, error: Exception) -> None:
        self.outlook = None
        problems = error.problems if isinstance(error, UserError) else []
        of_fields = [problem for problem in problems if problem.field in FIELDS]
        if not problems or len(of_fields) < len(problems):
            self._made_for = None  # a later try may go better
            self.failed.emit(error)
        self._refused = of_fields
        self.refused.emit(of_fields)


def _plan(wish: _Wish, lengths: list[int] | None) -> _Answer:
    """Plan in a thread of the pool.

    Args:
        lengths: tokens a row, when they were measured already.
    """
    from slmstudio.core.data.layouts import objectives
    from slmstudio.core.hardware.machine import read_machine
    from slmstudio.core.run.memory.outlook import look
    from slmstudio.core.run.schedule import divided

    config, measured = _continue(wish, wish.after) if wish.after is not None else _propose(wish, lengths)
    learned, _ = divided(wish.dataset.records, config)
    outlook = look(wish.model, config, wish.machine or read_machine(), len(learned))
    return _Answer(config, measured, len(learned), tuple(objectives(wish.dataset.layout)), outlook)


def _propose(wish: _Wish, lengths: list[int] | None) -> tuple[RunConfig, list[int]]:
    from slmstudio.core.hardware.machine import read_machine
    from slmstudio.core.run.planning import planner
    from slmstudio.core.run.planning.plan_rows import template_warnings

    split = {name: value for name, value in wish.split.items() if name != "eval_fraction" or not wish.share_is_usual}
    chosen = {**split, **wish.template, **wish.own}
    if lengths is None:
        lengths = planner.measure_lengths(wish.dataset, wish.model, chosen.get("chat_template", ""))
    config = planner.plan(planner.PlanRequest(
        wish.dataset, wish.model, wish.machine or read_machine(), wish.eval_file, chosen, lengths, wish.maps[1],
        wish.eval_rows))
    if wish.template and "chat_template" not in wish.own:
        config.reasons["chat_template"] = together(tr("Chosen with the model."), *template_warnings(config))
        config.chosen = [name for name in config.chosen if name != "chat_template"]
    return _of_the_data_tab(config, split.keys() - wish.own.keys()), lengths


def _continue(wish: _Wish, after: Earlier) -> tuple[RunConfig, None]:
    """The earlier run's rows keep their split; others are split as the Data tab says."""
    from slmstudio.core.jobs.job import Job
    from slmstudio.core.run.planning.follow_up import follow_up
    from slmstudio.core.run.planning.plan_rows import what_is_held_back
    from slmstudio.core.run.schedule import divided

    earlier = RunConfig.from_dict(Job(after.folder).request())
    train_map, eval_map = wish.maps
    same = Path(earlier.train_file) == Path(wish.dataset.path) and earlier.train_map == train_map
    split = {} if same or earlier.eval_file else wish.split
    maps = {name: said for name, said, is_new in (
        ("train_map", train_map, not same), ("eval_map", eval_map, wish.eval_file is not None)) if said and is_new}
    config = follow_up(after.folder, train_file=None if same else wish.dataset.path, eval_file=wish.eval_file,
                       overrides={**split, **maps, **wish.own}, records=wish.dataset.records,
                       eval_rows=wish.eval_rows)
    config = _of_the_data_tab(config, (split | maps).keys() - wish.own.keys())
    if split and wish.share_is_usual and "eval_fraction" not in wish.own:
        rows = wish.dataset.records
        config.reasons["eval_fraction"] = what_is_held_back(divided(rows, config)[1], len(rows))
    return config, None


def _of_the_data_tab(config: RunConfig, names: set[str]) -> RunConfig:
    for name in names:
        config.reasons[name] = tr("Chosen with the data.")
    config.chosen = [name for name in config.chosen if name not in names]
    return config
