"""What the tab says about a run: its title, its line in the status bar, and what can be done with it."""

from __future__ import annotations

from pathlib import Path

from slmstudio.core import units
from slmstudio.core.files import number
from slmstudio.core.hardware.heat.guard import COOLED_C
from slmstudio.core.i18n import tr
from slmstudio.core.jobs.outcome import Outcome
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.energy.tariff import Tariff, format_money
from slmstudio.core.run.history import RunHistory
from slmstudio.gui.common.session import JobStatus, Session
from slmstudio.gui.training.guard.section import is_resting


def title(config: RunConfig) -> str:
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
