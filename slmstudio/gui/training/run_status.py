"""What the tab says of a run: its title, its line in the status bar, and what can be done with it."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QCoreApplication

from slmstudio.core import units
from slmstudio.core.hardware import describe
from slmstudio.core.jobs.job import Outcome
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.history import RunHistory
from slmstudio.gui.common.session import JobStatus, Session


def tr(text: str) -> str:
    return QCoreApplication.translate("RunStatus", text)


def title(config: RunConfig) -> str:
    """The run's name, and its base model unless the name has it."""
    name, model = config.name, Path(config.model).name
    return name if model in name else tr("{name} on {model}").format(name=name, model=model)


def is_resumable(outcome: Outcome, history: RunHistory) -> bool:
    """Whether Resume can go on with a run that ended so."""
    total = history.total_steps
    return outcome.state in ("crashed", "failed", "stopped", "paused") and (not total or history.step < total)


def job_status(name: str, history: RunHistory) -> JobStatus:
    """What the status bar says of the run."""
    text = tr("paused") if history.paused else "" if history.stepping else tr("starting")
    return JobStatus(tr("Training {name}").format(name=name), history.step, history.total_steps, history.seconds_left,
                     text, _figures(history))


def gpu_note(history: RunHistory, session: Session) -> str:
    """Why there is no temperature, when there is none."""
    if not history.sensors_missing:
        return ""
    if session.machine is not None and session.machine.gpus:
        return history.sensors_missing
    return tr("No NVIDIA GPU in this machine: temperature and power are not measured.")


def _figures(history: RunHistory) -> str:
    """The GPU's memory and power, or the worker's memory."""
    series, total = history.series, history.limits.get("memory_total")
    parts = []
    used, power, own = (series[name].last() for name in ("memory_used", "power_w", "process_memory"))
    if used is not None and total is not None:
        parts.append(describe.memory_of(int(used), int(total)))
    elif own is not None:
        parts.append(tr("worker uses {memory}").format(memory=units.format_bytes(own)))
    if power is not None:
        parts.append(tr("{watts} W").format(watts=f"{power:.0f}"))
    return " · ".join(parts)
