"""What comes after: the plan's start, the queue, continuing from a result, and the plan as code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QWidget

from slmstudio.core import program
from slmstudio.core.errors import Problem, UserError
from slmstudio.core.hardware.machine import read_machine
from slmstudio.core.i18n import tr
from slmstudio.core.jobs.job import Job
from slmstudio.core.jobs.outcome import Outcome
from slmstudio.core.run import config_file, folder, launch
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.folder import slug
from slmstudio.gui.common.dialogs import choose_file
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.tasks import Task, is_busy, run_task
from slmstudio.gui.common.widgets.banner import clear_error
from slmstudio.gui.training.plan_panel import PlanPanel
from slmstudio.gui.training.plan_view import PlanView
from slmstudio.gui.training.planning import Earlier, Planning
from slmstudio.gui.training.run_queue import RunQueue

if TYPE_CHECKING:
    from slmstudio.core.data.reader import Dataset
    from slmstudio.core.model.facts import ModelFacts

NOT_CHANGED = ("name", "model", "train_file", "eval_file", "train_map", "eval_map", "start_from")
"""Fields that a user chose elsewhere than in the plan, as far as they chose them."""


@dataclass(frozen=True)
class _ReadAgain:
    """What a finished run was made of.

    Attributes:
        earlier: the run, where the plan continues from its result; None if it begins again.
        changes: fields that have values other than those proposed.
        dataset, eval_dataset: its rows, and those of a file of their own that it was evaluated on, so that a plan from
            the base model is measured by the same; None if other data is chosen.
    """

    earlier: Earlier | None
    config: RunConfig
    model: ModelFacts
    changes: dict[str, Any]
    dataset: Dataset | None = None
    eval_dataset: Dataset | None = None


class RunLauncher(QObject):
    """Makes runs of plans.

    Attributes:
        queue: the runs that wait.

    Signals:
        made(Job): a run folder; its worker is to be started.
        turn(Job): a run of the queue, whose worker runs.
        planning_on: the plan continues from a finished run now.
        failed(Exception): it didn't work.
        not_shared(Exception): no run of several machines could be made.
    """

    made = Signal(object)
    turn = Signal(object)
    planning_on = Signal()
    failed = Signal(object)
    not_shared = Signal(object)

    def __init__(self, session: Session, plan: PlanPanel, view: PlanView, planning: Planning, parent: QWidget):
        super().__init__(parent)
        self._session, self._plan, self._view, self._planning = session, plan, view, planning
        self.queue = RunQueue(self)
        self._wanted: tuple[Callable[[RunConfig], object], Callable[[list[Problem]], object] | None] | None = None
        view.start.clicked.connect(self.start)
        view.queue.clicked.connect(lambda: self._use(self._enqueue))
        planning.planned.connect(self._plan_made)
        planning.refused.connect(self._forget)
        self.queue.started.connect(self.turn)
        self.queue.failed.connect(self._not_done)
        self.queue.added.connect(self._added)

    def is_starting(self) -> bool:
        """Whether a run is being made, or will be as soon as its plan is there, or waits for its turn."""
        return self._wanted is not None or is_busy(self) or is_busy(self.queue)

    def start(self) -> None:
        """Make a run from the plan."""
        self._use(self._make)

    def _use(self, act: Callable[[RunConfig], object],
             refused: Callable[[list[Problem]], object] | None = None) -> None:
        """Do it with the plan; with the coming one, when the user has just changed a field.

        Args:
            refused: is told where that one can't be used; without it, the plan's fields alone say so.
        """
        clear_error(self)
        if self._planning.is_busy():
            self._wanted = act, refused
        elif self._planning.config is not None:
            self._view.set_ready(False)
            act(self._planning.config)

    def _plan_made(self) -> None:
        wanted, self._wanted = self._wanted, None
        if wanted is not None:
            self._use(*wanted)

    def _forget(self, problems: list[Problem]) -> None:
        wanted, self._wanted = self._wanted, None
        if wanted is not None and wanted[1] is not None:
            wanted[1](problems)

    def _make(self, config: RunConfig) -> None:
        run_task(self, lambda task: folder.create(config), self._made, self._not_done)

    def _enqueue(self, config: RunConfig) -> None:
        takes = self._planning.outlook
        self.queue.add(config, takes.time if takes is not None else None)

    def start_on(self, machines: int, address: str, port: int) -> None:
        """Make a run of the plan for several machines, this one among them."""
        def make(config: RunConfig) -> Job:
            several = replace(config, nodes=machines)
            launch.own_address(address)
            launch.need(several, self._session.machine or read_machine())
            job = folder.create(several)
            launch.write(job.folder, address, port)
            return job

        def refused(error: Exception) -> None:
            self._show_ready()
            self.not_shared.emit(error)

        def no_plan(problems: list[Problem]) -> None:
            self.not_shared.emit(UserError(
                tr("There is no plan to start."), "",
                tr("Close this window and look at the plan: it says what is missing or wrong."), problems))

        if self._planning.can_start():
            self._use(lambda config: run_task(self, lambda task: make(config), self._made, refused), no_plan)
        else:
            no_plan([])

    def _made(self, job: Job) -> None:
        self._view.set_ready(True)
        self.made.emit(job)

    def _added(self, name: str) -> None:
        self._view.set_ready(True)
        self._plan.buttons.say(tr("“{name}” is waiting in the queue.", name=name))

    def _show_ready(self) -> None:
        self._view.set_ready(self._planning.config is not None)
        self._plan.buttons.say("")

    def _not_done(self, error: Exception) -> None:
        self._show_ready()
        self.failed.emit(error)

    def after_end(self, job: Job, name: str, outcome: Outcome) -> None:
        """A run has ended: the next one begins, unless the user wanted the memory for something else."""
        if outcome.state == "paused":
            return
        if self.queue.waits() and outcome.state in ("failed", "crashed"):
            error = outcome.user_error()
            self.failed.emit(UserError(
                tr("“{name}” has ended. {what}", name=name, what=error.what), error.why,
                tr("The queue continues. You'll find that run in Results.")))
        self.queue.start_next(job)

    # -- continuing from a result -------------------------------------------------------------------------------

    def go_on_from(self, run: Path, changes: dict[str, Any] | None = None) -> None:
        """Plan a run that continues from what a finished one learned, with the data that is chosen, or its own.

        Args:
            changes: fields that are to have values other than those proposed.
        """
        def read(task: Task) -> _ReadAgain:
            from slmstudio.core.run.planning.follow_up import follow_up

            config = follow_up(run)
            earlier = Earlier(run, RunConfig.from_dict(Job(run).request()).name, config.model)
            return _read_again(task, config, earlier, changes or {}, self._session.dataset is None)

        self._plan_with(read)

    def plan_again(self, run: Path, changes: dict[str, Any]) -> None:
        """Plan a run once more from where it began: its data, what the user had set of it, and these changes."""
        def read(task: Task) -> _ReadAgain:
            config = RunConfig.from_dict(Job(run).request())
            own = {name: getattr(config, name) for name in config.chosen if name not in NOT_CHANGED}
            if "epochs" in changes:
                own.pop("max_steps", None)  # it would decide, whatever the epochs
            first = Path(config.start_from) if config.start_from else None
            earlier = Earlier(first, RunConfig.from_dict(Job(first).request()).name, config.model) if first else None
            chosen = self._session.dataset
            other = chosen is None or chosen.path != Path(config.train_file)
            return _read_again(task, config, earlier, own | changes, other)

        self._plan_with(read)

    def _plan_with(self, read: Callable[[Task], _ReadAgain]) -> None:
        session = self._session

        def done(found: _ReadAgain) -> None:
            config = found.config
            if session.model is None or Path(session.model.path) != Path(config.model):
                session.set_model(found.model)
            self._planning.go_on_from(found.earlier, found.changes)
            if found.dataset is not None:
                session.set_dataset(found.dataset, found.eval_dataset, config.eval_fraction, config.split_seed,
                                    config.split_by)
            self.planning_on.emit()

        clear_error(self)
        run_task(self, read, done, self.failed.emit)

    # -- the code ---------------------------------------------------------------------------------------------

    def save_code(self, run: Path | None) -> None:
        """Let the user save the run, or the plan, as a script."""
        config = self._plan.config
        if config is not None:
            clear_error(self)
            choose_file(self._plan.window(), tr("Save the code"), f"train-{slug(config.name)}.py",
                        tr("Python scripts (*.py)"), lambda out: self.write_code(run or config, out))

    def write_code(self, run: Path | RunConfig, out: Path) -> None:
        """Write a run in a folder, or a plan, as a script, and the rows that it learns beside it."""
        def write(task: Task) -> Path:
            from slmstudio.core.run.run_script import write_script

            return write_script(run, out).path

        self._plan.buttons.say(tr("Writing the script …"))
        run_task(self._plan, write, lambda path: self._plan.buttons.say(tr(
            "Saved as {name} in {folder}, together with its rows.", name=path.name, folder=path.parent)),
            self._not_done)

    def save_plan(self) -> None:
        """Let the user save the plan as a file, from which the terminal trains."""
        config = self._plan.config
        if config is not None:
            clear_error(self)
            choose_file(self._plan.window(), tr("Save the plan"), f"plan-{slug(config.name)}.json",
                        tr("Run configurations (*.json)"), lambda out: self.write_plan(config, out))

    def write_plan(self, config: RunConfig, out: Path) -> None:
        run_task(self._plan, lambda task: config_file.write(config, out), lambda _: self._plan.buttons.say(
            tr("Saved. To train it in a terminal: {command}", command=program.command("train", out))), self._not_done)


def _read_again(task: Task, config: RunConfig, earlier: Earlier | None, changes: dict[str, Any],
                with_data: bool) -> _ReadAgain:
    from slmstudio.core.data.reader import read_as
    from slmstudio.core.model.facts import read_model

    model = read_model(Path(config.model))
    if not with_data:
        return _ReadAgain(earlier, config, model, changes)
    evaluation = config.eval_file and read_as(Path(config.eval_file), config.eval_map, cancelled=task.cancelled)
    return _ReadAgain(earlier, config, model, changes,
                      read_as(Path(config.train_file), config.train_map, cancelled=task.cancelled),
                      evaluation or None)
