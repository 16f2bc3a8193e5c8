"""The heat guard in the plots of a run: where it acts, as lines, and its rests, as shades."""

from __future__ import annotations

from slmstudio.core import units
from slmstudio.core.hardware.heat.limits import HELD_BELOW_C, Heat, heats
from slmstudio.core.hardware.readings import MachineReading
from slmstudio.core.i18n import tr
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.guard.settings import as_changed, settings_of
from slmstudio.core.run.guard.summary import HOLD
from slmstudio.core.run.history import RunHistory
from slmstudio.gui.common.run_texts import rest_text
from slmstudio.gui.plots.marks import Level
from slmstudio.gui.plots.shades import Shade


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


def rests(history: RunHistory, clock_unit: float | None) -> list[Shade]:
    """Its pauses; holding a temperature isn't a pause.

    Args:
        clock_unit: seconds in a unit of the plot's x axis; None if that counts steps.
    """
    found = []
    for each in history.guard.intervals:
        start, end = (each.start, each.end) if clock_unit else (each.first_step, each.last_step)
        if each.why == HOLD or start is None:
            continue
        seconds = (history.seconds if each.end is None else each.end) - each.start
        text = tr("Rested {time}: {cause}", time=units.format_duration(seconds), cause=rest_text(each.why))
        if clock_unit is None:
            found.append(Shade(start, start if end is None else end, text))
        else:
            found.append(Shade(start / clock_unit, (history.seconds if end is None else end) / clock_unit, text))
    return found
