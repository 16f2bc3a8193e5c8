"""What looks after the machine in a run, in a sentence."""

from __future__ import annotations

from slmstudio.core.hardware.heat.limits import HELD_BELOW_C, hottest
from slmstudio.core.hardware.readings import MachineReading
from slmstudio.core.i18n import tr
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.guard.settings import settings_of


def guard_text(config: RunConfig, reading: MachineReading | None) -> str:
    """"Pauses at 90 °C. Trains between 22:00 and 06:00 only."

    Args:
        reading: of the machine, for limits that its parts decide; None before there is one.
    """
    settings = settings_of(config)
    hold = settings.mode == "hold"
    heat = hottest(reading, settings.limit_c, hold, config.device == "cpu") if reading is not None else None
    limit = settings.limit_c if settings.limit_c is not None else \
        heat.limit_c - HELD_BELOW_C * hold if heat is not None else None
    if settings.mode == "off":
        text = tr("Only warns when it gets hot.")
    elif reading is not None and heat is None:
        text = tr("This machine doesn't report its temperature, so the run never pauses for heat.")
    elif limit is None:
        text = tr("Rests when it gets too hot.")
    else:
        text = tr("Holds {limit:.0f} °C.", limit=limit) if hold else tr("Pauses at {limit:.0f} °C.", limit=limit)
    more = []
    if settings.hours is not None:
        more.append(tr("Trains between {start:%H:%M} and {end:%H:%M} only.", start=settings.hours.start,
                       end=settings.hours.end))
    if settings.pause_on_battery:
        more.append(tr("Pauses on battery."))
    return " ".join([text, *more])
