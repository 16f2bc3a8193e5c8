"""What a run's fields ask of the guard. They may change at any time: nothing that is learned depends on them."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

from slmstudio.core import jobs
from slmstudio.core.hardware.heat.guard import Settings
from slmstudio.core.hardware.heat.hours import Hours
from slmstudio.core.i18n import noop, tr
from slmstudio.core.run import adjust, config_file
from slmstudio.core.run.config import FIELDS, HEAT, RunConfig, label

GUARD_FIELDS = tuple(name for name, about in FIELDS.items() if about.group == HEAT)
"""The fields that the command "guard" of a running run may hold."""

EMPTY = {"heat_limit_c": noop("automatic"), "train_hours": noop("always")}


def told(values: dict[str, Any]) -> list[str]:
    """Values of these fields as people read them: "Temperature limit, °C: 78"."""
    found = []
    for name, value in values.items():
        switch = tr("on") if value else tr("off")
        word = tr(EMPTY[name]) if value is None else switch if isinstance(value, bool) else value
        found.append(f"{label(name)}: {word}")
    return found


def settings_of(config: RunConfig) -> Settings:
    """The guard's settings of a run whose fields have been checked."""
    hours: Any = Hours.parse(config.train_hours) if config.train_hours else None
    return Settings(config.heat_guard, config.heat_limit_c, config.heat_rest_seconds,  # type: ignore[arg-type]
                    config.pause_on_battery, hours)


def as_changed(config: RunConfig, values: dict[str, Any]) -> RunConfig:
    """The configuration with other values of `GUARD_FIELDS`; what a later version wrote of others is passed over."""
    fitting: dict[str, Any] = {}
    for name in (name for name in GUARD_FIELDS if name in values):
        with contextlib.suppress(ValueError):
            fitting[name] = FIELDS[name].read(values[name])
    changed = replace(config, **fitting)
    return config if changed.problems() else changed


def ask(job: jobs.Job, values: dict[str, Any]) -> RunConfig:
    """Other settings for a run: one that trains takes them at its next step, another at its next start.

    They are kept in both cases, so that they also hold where the run ends before that step.

    Args:
        values: of `GUARD_FIELDS`, as their types or as a user typed them.

    Returns:
        The run's configuration with them.

    Raises:
        UserError: it isn't a run, or a value doesn't fit; all of them at once.
    """
    config = adjust.apply(config_file.load(job.folder), job.folder)
    fitting = adjust.checked(job.folder, values)
    if fitting:
        adjust.record(job.folder, fitting)
        if job.is_alive():
            job.send("guard", **fitting)
    return replace(config, **fitting)
