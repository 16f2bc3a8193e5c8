"""Keeps the plan in step with the data, the model, the machine and the user's changes, off the UI thread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Signal

from slmstudio.core.errors import Problem, UserError
from slmstudio.core.i18n import tr
from slmstudio.core.run.config import FIELDS, HEAT, MACHINE, METHOD, RunConfig
from slmstudio.core.run.run_fields import VARIANTS
from slmstudio.gui.common.run_texts import VARIANT_FLAGS
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.tasks import TaskSlot

if TYPE_CHECKING:
    from slmstudio.core.data.reader import Dataset
    from slmstudio.core.model.facts import ModelFacts
    from slmstudio.core.run.memory.outlook import Outlook
    from slmstudio.core.run.planning.choices import Choice, Choices
    from slmstudio.core.run.planning.row_counts import LostRows, RowCounts

KEPT_GROUPS = (METHOD, MACHINE, HEAT)
"""Groups of fields whose values suit other data too; those of the others were meant for the rows of that time."""


NORMAL = "normal"
"""What the planner proposes: `choices.NORMAL`, whose module is imported off the UI thread."""


@dataclass(frozen=True)
class Earlier:
    """The finished run whose result a plan continues from.

    Attributes:
        model: folder of its base model.
    """

    folder: Path
    name: str
    model: str


class Planning(QObject):
    """Plans, and plans again when something it rests on has changed.

    Attributes:
        choices: the ways to train that are offered; None before there is a plan. `choice`: the key of the chosen one.
        config, counts: the plan of that one, and its rows and steps; None before there is one.
        lost: what it would lose of its rows; None if nothing.
        outlook: the memory and the time that it takes.
        objectives: what the data can teach.
        after: the run that the plan continues from, as long as its base model is chosen; None plans from the base.
        overrides: what the user decided, by field.
        active: whether a plan is wanted; not while a run is shown instead.

    Signals:
        active_changed(bool): `active` is different now.
        began: a plan is being made; one of the others follows.
        planned: `config` and `counts` are different now.
        confirmed: `config` is to be shown again; what the user typed last changed nothing of it.
        refused(list[Problem]): no plan could be made: what is wrong with which field; `failed` told anything else.
            `config` is the plan before. It comes after each `confirmed` as long as that is so.
        failed(Exception): no plan can be made, for a reason that belongs to no field.
    """

    active_changed = Signal(bool)
    began = Signal()
    planned = Signal()
    confirmed = Signal()
    refused = Signal(list)
    failed = Signal(object)

    def __init__(self, session: Session, parent: QObject | None = None):
        super().__init__(parent)
        self.config: RunConfig | None = None
        self.counts: RowCounts | None = None
        self.lost: LostRows | None = None
        self.outlook: Outlook | None = None
        self.objectives: tuple[str, ...] = ()
        self.after: Earlier | None = None
        self.overrides: dict[str, Any] = {}
        self.choices: Choices | None = None
        self.choice = NORMAL
        self.active = True
        self._session = session
        self._decided_for = session.dataset.path if session.dataset is not None else None
        self._before: list[tuple[dict[str, Any], str]] = []  # what was decided, for `undo`
        self._measured_by: tuple[Any, ...] = ()  # what decided the tokens of the newest plan's rows
        self._made_for: tuple[Any, ...] | None = None
        self._task = TaskSlot()
        self._refused: list[Problem] | None = None
        session.dataset_changed.connect(self._drop_decisions)
        session.machine_changed.connect(self.refresh)
        session.model_changed.connect(self.refresh)
        session.settings_changed.connect(self.refresh)
        session.field_wanted.connect(lambda name, value: self.decide(name, value) if value is not None else
                                     self.propose(name))

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
        self._remember()
        if name != "method":
            self.overrides[name] = value
        elif value in VARIANTS:
            self._forget_method()
            self.overrides |= VARIANTS[value]
        self.refresh()

    def propose(self, name: str) -> None:
        """The user leaves a field to the plan again."""
        self._remember()
        self.overrides.pop(name, None)
        if name == "method":
            self._forget_method()
        self.refresh()

    def choose(self, key: str) -> None:
        """The user wants another of the ways to train that are offered."""
        if key != self.choice:
            self._remember()
            self._decide_all(self.overrides, key)

    def reset(self) -> None:
        """Leave everything to the plan."""
        if self.changed() or self.choice != NORMAL:
            self._remember()
            self._decide_all({}, NORMAL)

    def undo(self) -> None:
        """Take back what the user decided last."""
        if self._before and self.active:
            self._decide_all(*self._before.pop())

    def changed(self) -> set[str]:
        """The fields that a user has decided, beside the way to train."""
        return {"method" if name in VARIANT_FLAGS else name for name in self.overrides}

    @property
    def current(self) -> Choice | None:
        """The chosen way to train."""
        return self.choices.of(self.choice) if self.choices is not None else None

    def _remember(self) -> None:
        self._before.append((dict(self.overrides), self.choice))

    def _decide_all(self, overrides: dict[str, Any], choice: str) -> None:
        other, self.overrides, self.choice = choice != self.choice, overrides, choice
        if other and not self.is_busy() and self._refused is None and self.choices is not None:
            self._show_choice()  # all that are offered are planned already
        self.refresh()

    def _drop_decisions(self) -> None:
        """Leave to the plan what the user decided for another dataset than the one that is chosen now."""
        dataset = self._session.dataset
        if dataset is None or dataset.path == self._decided_for:
            return
        if self._decided_for is not None and self.after is None:
            self.choice, self._before = NORMAL, []
            self.overrides = {name: value for name, value in self.overrides.items()
                              if FIELDS[name].group in KEPT_GROUPS and name != "objective"}
        self._decided_for = dataset.path

    def _forget_method(self) -> None:
        for name in ("method", *VARIANT_FLAGS):
            self.overrides.pop(name, None)

    def go_on_from(self, run: Earlier | None, changes: Mapping[str, Any] | None = None) -> None:
        """Plan a run that continues from what a finished one learned; None plans from the base model again.

        Args:
            changes: fields that the user wants to have values other than those proposed.
        """
        self.after, self.choice, self._before = run, NORMAL, []
        self.overrides = dict(changes or {})
        self.refresh()

    def save_state(self) -> tuple[Any, ...]:
        """What the plan rests on besides what is chosen in other tabs, and the newest plan."""
        return self.after, self.overrides, self.choice, self.choices, self._measured_by, self.objectives

    def restore_state(self, after: Earlier | None, overrides: dict[str, Any], choice: str, newest: Choices | None,
                      measured_by: tuple[Any, ...], objectives: tuple[str, ...]) -> None:
        """Plan what `save_state` found. That plan is shown until it is made again, for which the rows are measured."""
        self.after, self.overrides, self.choice = after, overrides, choice
        if newest is not None:
            self._show(newest, measured_by, objectives)
        self.look_again()

    def look_again(self) -> None:
        """More is known about what the plan takes: plan with that."""
        self._made_for = None
        self.refresh()

    def refresh(self) -> None:
        """Plan again, unless the plan is of just this already, or none is wanted."""
        if not self.active:
            return
        session = self._session
        dataset, model = session.dataset, session.model
        if dataset is None or model is None:
            self.config = self.counts = self.lost = self.outlook = self.choices = None
            self._made_for = None
            return
        if self.after is not None and Path(self.after.model) != Path(model.path):
            self.after = None
        from slmstudio.core.data.layouts import objectives

        inputs, files = self._inputs(dataset, model)
        evaluates = session.settings.evaluate_at_end
        made_for = {**inputs, "dataset": None}, files, evaluates
        if made_for == self._made_for:
            if self.config is not None and not self.is_busy():
                self.confirmed.emit()
                if self._refused is not None:
                    self.refused.emit(self._refused)
            return
        self._made_for = made_for
        self._task.cancel()
        if problems := self._problems():
            self._fail(UserError(tr("The plan can't be used."), tr("Some values are wrong."), tr("Correct them."),
                                 problems))
            return
        chosen = {"chat_template": inputs["template"]} | self.overrides
        measured_by = (files[0], model.path, inputs["after"], *(
            chosen.get(name) for name in ("chat_template", "objective", "completion_only_loss")))
        if self.current is not None and measured_by == self._measured_by:
            inputs["measured"] = self.current.plan.measured
        self._task.run(self, lambda task: _plan(inputs, evaluates),
                       lambda made: self._show(made, measured_by, tuple(objectives(dataset.layout))), self._fail)
        self.began.emit()

    def _show(self, made: Choices, measured_by: tuple[Any, ...], objectives: tuple[str, ...]) -> None:
        self._refused, self.choices, self._measured_by, self.objectives = None, made, measured_by, objectives
        self._show_choice()

    def _show_choice(self) -> None:
        assert self.current is not None
        self.choice, made = self.current.key, self.current.plan
        self.config, self.counts, self.outlook, self.lost = made.config, made.counts, made.outlook, made.lost
        self.planned.emit()

    def _inputs(self, dataset: Dataset, model: ModelFacts) -> tuple[dict[str, Any], tuple[Any, ...]]:
        """What a plan would be made from now: the fields of `PlanInputs`; and of the data, name, checksum, and what was
        said about its columns, by which two plans' data are compared."""

        session = self._session
        test = session.eval_dataset
        split = {} if test is not None else {
            "eval_fraction": session.eval_fraction, "split_seed": session.split_seed, "split_by": session.split_by}
        inputs = {"dataset": dataset, "model": model, "machine": session.machine, "eval_file": test and test.path,
                  "overrides": dict(self.overrides), "eval_map": test and test.line,
                  "eval_rows": test and len(test.records), "split": split,
                  "template": session.chat_template_of(model.path) or "", "after": self.after and self.after.folder}
        return inputs, tuple((each.path, each.sha256, each.line) for each in (dataset, test) if each is not None)

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


def _plan(inputs: dict[str, Any], evaluates: bool) -> Choices:
    """Plan in a thread of the pool, which also imports what only a plan needs."""
    from slmstudio.core.run.planning import choices
    from slmstudio.core.run.planning.plan_inputs import PlanInputs

    return choices.propose(PlanInputs(**inputs), evaluates)
