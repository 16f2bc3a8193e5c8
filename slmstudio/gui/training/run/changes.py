"""What holds in a run now: its configuration, with what was changed since it began."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from slmstudio.core.files import an_object
from slmstudio.core.i18n import number_text, tr
from slmstudio.core.run.config import FIELDS, RunConfig
from slmstudio.core.run.history import RunHistory


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

    for event in history.adjustments:
        for name, value in an_object(event.get("changes")).items():
            take(name, value, tr("Lowered automatically because memory ran out."))
    for event in history.changes:
        asked = an_object(event.get("asked"))
        if "learning_rate" in asked:
            take("learning_rate", event.get("learning_rate"), _by_hand(event))
        if "epochs" in asked:
            take("epochs", asked["epochs"], _by_hand(event))
            values["max_steps"] = None
        if "max_steps" in asked:
            take("max_steps", asked["max_steps"], _by_hand(event))
    for event in history.guard.changes:
        for name, value in event["values"].items():
            take(name, value, _by_hand(event))
    return replace(config, **values, reasons=reasons)


def _by_hand(event: dict[str, Any]) -> str:
    step = event.get("global_step")
    return tr("You changed this at step {step}.", step=number_text(step) if isinstance(step, int) else "?")
