"""Where the heat guard acts, as lines in the plots of a run's temperatures."""

from __future__ import annotations

from slmstudio.core.hardware.heat.limits import HELD_BELOW_C, Heat, heats
from slmstudio.core.hardware.readings import MachineReading
from slmstudio.core.i18n import tr
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.guard.settings import as_changed, settings_of
from slmstudio.core.run.history import RunHistory
from slmstudio.gui.plots.marks import Level


def heat_levels(history: RunHistory, config: RunConfig | None) -> dict[str, list[Level]]:
    """By plot (`temperature_c`, `cpu_temperature_c`), the guard's lines; none where it looks at nothing.

    Args:
        config: of the run; what was changed in it since is taken from its history.
    """
    if config is None or not history.machine.newest:
        return {}
    settings = settings_of(as_changed(config, history.guard.changed))
    if settings.mode == "off":
        return {}
    holds = settings.mode == "hold"
    found: dict[str, list[Level]] = {}
    for heat in heats(MachineReading.from_event(history.machine.newest), settings.limit_c, holds,
                      config.device == "cpu"):
        level = Level(heat.limit_c - HELD_BELOW_C * holds, _words(heat, holds))
        plot = found.setdefault("cpu_temperature_c" if heat.what == "cpu" else "temperature_c", [])
        if level not in plot:
            plot.append(level)
    return found


def _words(heat: Heat, holds: bool) -> str:
    limit, memory = f"{heat.limit_c - HELD_BELOW_C * holds:.0f}", heat.what == "memory"
    if holds:
        return tr("memory: hold {limit} °C", limit=limit) if memory else tr("hold {limit} °C", limit=limit)
    return tr("memory: pause at {limit} °C", limit=limit) if memory else tr("pause at {limit} °C", limit=limit)
