"""Keeps the plan in step with the data, the model, the machine and the user's changes, off the UI thread."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Signal

from slmstudio.core.errors import Problem, UserError
from slmstudio.core.i18n import tr
from slmstudio.core.run.config import FIELDS, RunConfig
from slmstudio.core.run.fields.choices import VARIANTS
from slmstudio.gui.common.plan_fields import VARIANT_FLAGS
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.tasks import TaskSlot
from slmstudio.gui.training.plan_task import Earlier, PlanInputs, PlanResult, plan

if TYPE_CHECKING:
    from slmstudio.core.data.reader import Dataset
    from slmstudio.core.model.facts import ModelFacts
    from slmstudio.core.run.memory.outlook import Outlook
    from slmstudio.core.run.planning.row_counts import LostRows, RowCounts

KEPT_GROUPS = ("Method", "Machine", "Heat and hours")
"""Groups of fields whose values suit other data too; those of the others were meant for the rows of that time."""


class Planning(QObject):
    """Plans, and plans again when something it rests on has changed.

    Attributes:
        config, counts: the newest plan, and its rows and steps; None before there is one.
        lost: what it would lose of its rows; None if nothing.
        outlook: the memory and the time that it takes.
        objectives: what the data can teach.
        after: the run that the plan continues from, as long as its base model is chosen; None plans from the base.
        overrides: what the user decided, by field.
        active: whether a plan is wanted; not while a run is shown instead.

    Signals:
        active_changed(bool): `active` is different now.
        planned: `config` and `counts` are different now.
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
        self.counts: RowCounts | None = None
        self.lost: LostRows | None = None
        self.outlook: Outlook | None = None
        self.objectives: tuple[str, ...] = ()
        self.after: Earlier | None = None
        self.overrides: dict[str, Any] = {}
        self.active = True
        self._session = session
        self._decided_for = session.dataset.path if session.dataset is not None else None
        self._newest: PlanResult | None = None
        self._made_for: PlanInputs | None = None
        self._task = TaskSlot()
        self._refused: list[Problem] | None = None
        session.dataset_changed.connect(self._drop_decisions)
        session.machine_changed.connect(self.refresh)
        session.model_changed.connect(self.refresh)

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

    def _drop_decisions(self) -> None:
        """Leave to the plan what the user decided for another dataset than the one that is chosen now."""
        dataset = self._session.dataset
        if dataset is None or dataset.path == self._decided_for:
            return
        if self._decided_for is not None and self.after is None:
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
        self.after = run
        self.overrides = dict(changes or {})
        self.refresh()

    def save_state(self) -> tuple[Earlier | None, dict[str, Any], PlanResult | None]:
        """What the plan rests on besides what is chosen in other tabs, and the newest plan."""
        return self.after, self.overrides, self._newest

    def restore_state(self, after: Earlier | None, overrides: dict[str, Any], newest: PlanResult | None) -> None:
        """Plan what `save_state` found. That plan is shown until it is made again, for which the rows are measured."""
        self.after, self.overrides = after, overrides
        if newest is not None:
            self._show(newest)
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
            self.config = self.counts = self.lost = self.outlook = None
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
        known = self._newest
        self._task.run(self, lambda task: plan(wish, known), self._show, self._fail)

    def _show(self, answer: PlanResult) -> None:
        self._refused, self._newest = None, answer
        self.config, self.counts, self.outlook = answer.config, answer.counts, answer.outlook
        self.lost, self.objectives = answer.lost, answer.objectives
        self.planned.emit()

    def _wish(self, dataset: Dataset, model: ModelFacts) -> PlanInputs:
        """What a plan would be made from now."""

        session = self._session
        template = session.chat_template_of(model.path)
        eval_dataset = session.eval_dataset
        split = {} if eval_dataset is not None else {
            "eval_fraction": session.eval_fraction, "split_seed": session.split_seed, "split_by": session.split_by}
        files = tuple((each.path, each.sha256, each.line) for each in (dataset, eval_dataset) if each is not None)
        return PlanInputs(dataset, model, session.machine, eval_dataset.path if eval_dataset else None, split,
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
