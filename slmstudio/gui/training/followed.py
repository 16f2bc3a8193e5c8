"""The run that the Training tab follows: what holds in it now, what is said of it, and the question at closing."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QMessageBox, QWidget

from slmstudio.core import units
from slmstudio.core.errors import UserError
from slmstudio.core.files import number
from slmstudio.core.hardware.heat_guard import COOLED_C
from slmstudio.core.i18n import number_text, tr
from slmstudio.core.jobs.job import Job
from slmstudio.core.jobs.outcome import Outcome
from slmstudio.core.run import adjust
from slmstudio.core.run import guard_summary as guard_settings
from slmstudio.core.run.config import FIELDS, RunConfig
from slmstudio.core.run.energy.energy_costs import Tariff, format_money, tariff
from slmstudio.core.run.history import RunHistory
from slmstudio.gui.common.dialogs import question
from slmstudio.gui.common.followed_job import FollowedJob
from slmstudio.gui.common.session import JobStatus, Session
from slmstudio.gui.common.tasks import Task, run_task
from slmstudio.gui.training.guard_section import is_resting
from slmstudio.gui.training.run_queue import wait_until_gone

# -- What the tab says about a run: its title, its line in the status bar, and what can be done with it.


def run_title(config: RunConfig) -> str:
    """The run's name, and its base model unless the name has it."""
    name, model = config.name, Path(config.model).name
    return name if model in name else tr("{name} on {model}", name=name, model=model)


def is_resumable(outcome: Outcome, history: RunHistory) -> bool:
    """Whether Resume can continue a run that ended so."""
    total = history.total_steps
    return outcome.state in ("crashed", "failed", "stopped", "paused") and (not total or history.step < total)


def job_status(config: RunConfig, history: RunHistory, tariff: Tariff) -> JobStatus:
    """What the status bar says about the run.

    Args:
        config: as it is now.
        tariff: price of a kilowatt-hour.
    """
    lost, resting = _lost(history), is_resting(history)
    text = lost or (tr("paused") if history.paused else _rest(history) if resting else
                    "" if history.stepping else tr("starting"))
    return JobStatus(tr("Training {name}", name=config.name), history.step, history.total_steps,
                     history.seconds_left, text, _drawn(history, tariff), config,
                     bool(lost) or (resting and not history.paused))


def _rest(history: RunHistory) -> str:
    """Why it rests, and until when, in few words: "resting until 73 °C"."""
    resting = history.guard.resting or {}
    why, limit = str(resting.get("why")), number(resting, "limit_c")
    if why in ("heat", "memory_heat") and limit is not None:
        return tr("resting until it has cooled to {limit:.0f} °C", limit=limit - COOLED_C)
    return {"battery": tr("resting until it is plugged in"), "hours": tr("resting until its hours start")}.get(
        why, tr("resting"))


def _lost(history: RunHistory) -> str:
    newest = history.machine.last.get("gpus")
    lost = isinstance(newest, list) and any(isinstance(card, dict) and card.get("lost") for card in newest)
    return tr("a GPU has stopped responding") if lost else ""


def gpu_note(history: RunHistory, session: Session) -> str:
    """Why there is no temperature, when there is none."""
    if not history.sensors_missing:
        return ""
    if session.machine is not None and session.machine.gpus:
        return history.sensors_missing
    return tr("This machine has no NVIDIA GPU, so temperature and power aren't measured.")


def _drawn(history: RunHistory, tariff: Tariff) -> str:
    """Energy so far, and its cost where the price is known."""
    use = history.energy.use
    if use is None:
        return ""
    cost = tariff.cost(use.joules)
    return " · ".join(filter(None, [units.format_energy(use.joules),
                                    "" if cost is None else format_money(cost, tariff.currency)]))


class FollowedRun(FollowedJob):
    """Follows one run at a time, and tells the status bar of it.

    Attributes:
        config: its configuration when it began; None before there is one.

    Signals:
        renamed: `config` has another name.
    """

    renamed = Signal()

    def __init__(self, session: Session, parent: QObject | None = None):
        super().__init__(parent, session)
        self.config: RunConfig | None = None
        session.run_changed.connect(self._look_for_name)
        for signal in (self.begun, self.moved, self.renamed):
            signal.connect(self._show_status)

    def follow(self, job: Job, *, start_worker: bool = False, about: Any = None) -> None:
        self.detach()
        try:
            self.config = guard_settings.as_changed(
                RunConfig.from_dict(job.request()), adjust.load(job.folder)["values"])
        except UserError as error:
            self.failed.emit(error)
            return
        super().follow(job, start_worker=start_worker)

    def now(self) -> RunConfig:
        """The run's configuration, with what was changed since it began."""
        assert self.config is not None
        return as_it_is(self.config, self.history)

    def resume(self, values: dict[str, Any] | None = None) -> None:
        """Continue a run that ended early.

        Args:
            values: values other than those planned, which the worker asked the user for.
        """
        if self.job is None:
            return
        ended = self.job

        def prepare(task: Task) -> Job:
            wait_until_gone(ended, task)
            if values:
                adjust.consent(ended.folder, values)
            return Job(ended.folder)

        def proceed(job: Job) -> None:
            self.follow(job, start_worker=True)
            self._session.start_run(job)

        run_task(self, prepare, proceed, self.failed.emit)

    def _show_status(self) -> None:
        if self.is_running():
            self.show_status(job_status(self.now(), self.history, tariff(self._session.settings)))

    def _look_for_name(self) -> None:
        """The run may have been renamed in Results."""
        with contextlib.suppress(UserError, OSError):
            if self.job is not None and self.config is not None:
                name = RunConfig.from_dict(self.job.request()).name
                if name != self.config.name:
                    self.config = replace(self.config, name=name)
                    self.renamed.emit()


def as_it_is(config: RunConfig, history: RunHistory) -> RunConfig:
    """The configuration with the run's adjustments and changes in it, and a reason for each."""
    values: dict[str, Any] = {}
    reasons = dict(config.reasons)

    def take(name: str, value: Any, reason: str) -> None:
        try:
            values[name] = FIELDS[name].read(value)
            reasons[name] = reason
        except (KeyError, ValueError):
            pass  # of a version that knows another field

    for name, value, event in history.later_values():
        take(name, value, _by_hand(event) if event.get("type") != "adjusted" else
             tr("Lowered automatically because memory ran out."))
        if name == "epochs":
            values["max_steps"] = None
    return replace(config, **values, reasons=reasons)


def _by_hand(event: dict[str, Any]) -> str:
    step = event.get("global_step")
    return tr("You changed this at step {step}.", step=number_text(step) if isinstance(step, int) else "?")


# -- What becomes of a run when the window closes.


def ask_before_closing(parent: QWidget, name: str, waiting: bool = False) -> str:
    """Ask, and wait for the answer.

    Args:
        name: of the current run.
        waiting: others wait in the queue.

    Returns:
        "keep" (it continues without the window), "pause" (save, and free the memory), "stop" or "cancel" (don't close).
    """
    sentences = [tr("It can continue without the window. Open SLM Studio again to see how far it has got."),
                 tr("If you pause it, it saves a checkpoint and frees its memory. Resume continues from there."),
                 tr("If you stop it, the run ends there, and what it has learned so far is kept.")]
    if waiting:
        sentences.append(tr("The runs in the queue wait until you open the window again."))
    box = question(parent, tr("A run is in progress"), tr("“{name}” is still training.", name=name),
                   " ".join(sentences))
    role = QMessageBox.ButtonRole
    keep = box.addButton(tr("Close and keep training"), role.AcceptRole)
    answers = {keep: "keep", box.addButton(tr("Pause and close"), role.AcceptRole): "pause",
               box.addButton(tr("Stop and close"), role.DestructiveRole): "stop",
               box.addButton(tr("Don't close"), role.RejectRole): "cancel"}
    for button, answer in answers.items():
        button.setObjectName(f"close_{answer}")
    box.setDefaultButton(keep)
    box.exec()
    return next((answer for button, answer in answers.items() if button is box.clickedButton()), "cancel")
