"""Keeps the plan in step with the data, the model, the machine and the person's changes, off the UI thread."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Signal

from slmstudio.core.errors import Problem, UserError
from slmstudio.core.run.config import RunConfig, convert
from slmstudio.gui.plan_panel import PlanPanel
from slmstudio.gui.session import Session
from slmstudio.gui.tasks import Task, run_task

if TYPE_CHECKING:
    from slmstudio.core.data.reader import Dataset
    from slmstudio.core.hardware.machine import Machine
    from slmstudio.core.model.facts import ModelFacts


@dataclass(frozen=True)
class _Answer:
    config: RunConfig
    lengths: list[int]
    train_rows: int


class Planning(QObject):
    """Plans, and plans again when something it rests on has changed.

    Signals:
        planned: `config` and `train_rows` are different now.
        failed(Exception): no plan can be made, for a reason that is no field's.
    """

    planned = Signal()
    failed = Signal(object)

    def __init__(self, session: Session, panel: PlanPanel, parent: QObject):
        super().__init__(parent)
        self.config: RunConfig | None = None
        self.train_rows: int | None = None
        self._session, self._panel = session, panel
        self._lengths: tuple[Any, list[int]] | None = None
        self._made_for: Any = None
        self._task: Task | None = None
        panel.changed.connect(self.refresh)
        session.machine_changed.connect(self.refresh)

    def refresh(self) -> None:
        """Plan again, unless the plan is of just this already."""
        session = self._session
        dataset, model = session.dataset, session.model
        if dataset is None or model is None:
            self.config = self.train_rows = None
            self._made_for = None
            return
        key = (id(dataset), model.path, id(session.eval_dataset), session.eval_fraction, session.split_seed,
               id(session.machine), repr(self._panel.overrides))
        if key == self._made_for:
            if self.config is not None:
                self._panel.show_config(self.config, self.train_rows)
            return
        self._made_for = key
        if self._task is not None:
            self._task.cancel()
        if problems := self._problems():
            self._fail(UserError("The plan cannot be used.", "Some values are wrong.", "Correct them.", problems))
            return
        chosen = dict(self._panel.overrides)
        if session.eval_dataset is None:
            chosen = {"eval_fraction": session.eval_fraction, "split_seed": session.split_seed, **chosen}
        about = (dataset.sha256, model.path)
        lengths = self._lengths[1] if self._lengths and self._lengths[0] == about else None
        machine, eval_file = session.machine, session.eval_dataset.path if session.eval_dataset else None
        own = frozenset(self._panel.overrides)

        def work(task: Task) -> _Answer:
            return _plan(dataset, model, machine, eval_file, chosen, own, lengths)

        def done(answer: _Answer) -> None:
            self._lengths = (about, answer.lengths)
            self.config, self.train_rows = answer.config, answer.train_rows
            self._panel.start.setEnabled(True)
            self._panel.show_config(answer.config, answer.train_rows)
            self.planned.emit()

        self._task = run_task(self, work, done, self._fail)

    def _problems(self) -> list[Problem]:
        """Everything wrong with what the person typed: no number where one belongs, and numbers out of range."""
        problems, values = [], {}
        for name, value in self._panel.overrides.items():
            try:
                values[name] = convert(name, value)
            except ValueError as error:
                problems.append(Problem(str(error), field=name))
        return problems + (replace(self.config, **values).problems() if self.config is not None else [])

    def _fail(self, error: Exception) -> None:
        if not isinstance(error, UserError) or not self._panel.show_problems(error):
            self._made_for = None  # a later try may go better
            self.failed.emit(error)


def _plan(dataset: Dataset, model: ModelFacts, machine: Machine | None, eval_file: Any, chosen: dict[str, Any],
          own: frozenset[str], lengths: list[int] | None) -> _Answer:
    """Plan in a thread of the pool.

    Args:
        own: fields that were changed in the plan itself; the others were chosen in the Data tab.
    """
    from slmstudio.core.hardware.machine import read_machine
    from slmstudio.core.run import planner

    lengths = planner.measure_lengths(dataset, model) if lengths is None else lengths
    config = planner.plan(planner.PlanRequest(dataset, model, machine or read_machine(), eval_file, chosen, lengths))
    for name in chosen.keys() - own:
        config.reasons[name] = "Chosen in the Data tab."
    rows = len(dataset.records)
    if eval_file is None:
        rows -= round(rows * config.eval_fraction)
    return _Answer(config, lengths, max(1, rows))
