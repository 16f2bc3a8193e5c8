"""The rests of a run, as shades of its plots."""

from __future__ import annotations

from slmstudio.core import units
from slmstudio.core.i18n import tr
from slmstudio.core.run.guard.summary import HOLD
from slmstudio.core.run.history import RunHistory
from slmstudio.gui.common.run_texts import rest_text
from slmstudio.gui.plots.shades import Shade


def rests(history: RunHistory, clock_unit: float | None) -> list[Shade]:
    """Its pauses; holding a temperature isn't a pause.

    Args:
        clock_unit: seconds in a unit of the plot's x axis; None where that counts steps.
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
