"""The chip of the hottest part: how hot, how near to where the heat guard acts, and all of it as a tooltip."""

from __future__ import annotations

from slmstudio.core.hardware.guard import ASSUMED_SLOWDOWN_C
from slmstudio.core.hardware.heat.guard import Settings
from slmstudio.core.hardware.heat.limits import HELD_BELOW_C, Heat, heats
from slmstudio.core.hardware.readings import MachineReading
from slmstudio.core.i18n import tr
from slmstudio.gui.app.readings import trouble
from slmstudio.gui.common.widgets.labels import Chip

NEAR_C, HOLD_NEAR_C = 5, 2
"""So few degrees below the limit for pauses the chip warns; where a temperature is held, that is how it should be."""
CLEAR_C = 2
"""It stops this many degrees lower, so that it doesn't flicker."""


def show_heat(chip: Chip, reading: MachineReading, settings: Settings, on_cpu: bool = False) -> None:
    """Show the part that is nearest to its limit; a card that is lost or slowed down comes first.

    Args:
        chip: is hidden while nothing tells a temperature.
        settings: of the guard of the run at work, or of the planned one.
        on_cpu: whether the processor does the work.
    """
    hold = settings.mode == "hold"
    found = sorted(heats(reading, settings.limit_c, hold, on_cpu), key=lambda heat: heat.room)
    lost = [card for card in reading.gpus if card.lost]
    slowed = [card for card in reading.gpus if trouble(card) and not card.lost]
    if lost:
        chip.set(tr("GPU lost") if len(reading.gpus) == 1 else tr("GPU {number} lost", number=lost[0].index),
                 "bad", "\n".join(card.message for card in lost))
    elif found:
        degrees = f"{found[0].temperature_c:.0f}"
        chip.set(tr("{degrees} °C, slowed", degrees=degrees) if slowed else tr("{degrees} °C", degrees=degrees),
                 "bad" if found[0].room <= 0 or slowed else _kind(found[0], hold, chip.kind),
                 "\n".join([*(tr("GPU {number}: {trouble}", number=card.index, trouble=trouble(card))
                              for card in slowed),
                            *(_line(heat, reading) for heat in found), _what_then(found[0], settings)]))
    chip.setAccessibleName(tr("Temperature of the hottest part: {text}", text=chip.text()))
    chip.setVisible(bool(lost or found))


def _kind(heat: Heat, hold: bool, before: str) -> str:
    near = (HOLD_NEAR_C if hold else NEAR_C) + (CLEAR_C if before != "plain" else 0)
    return "warn" if heat.room <= near else "plain"


def _line(heat: Heat, reading: MachineReading) -> str:
    """One part: how hot it is, and where it protects itself."""
    name, degrees = heat.name, f"{heat.temperature_c:.0f}"
    card = next((card for card in reading.gpus if card.index == heat.index), None)
    own = reading.cpu.limit_c if heat.what == "cpu" else card and (
        card.slowdown_c if heat.what == "gpu" else card.memory_limit_c)
    if own is not None:
        return tr("{name} is at {degrees} °C; it slows itself down at {limit} °C.", name=name, degrees=degrees,
                  limit=f"{own:.0f}")
    if heat.what == "gpu":
        return tr("{name} is at {degrees} °C. It doesn't report where it slows itself down, so {limit} °C is assumed.",
                  name=name, degrees=degrees, limit=ASSUMED_SLOWDOWN_C)
    return tr("{name} is at {degrees} °C.", name=name, degrees=degrees)


def _what_then(heat: Heat, settings: Settings) -> str:
    limit, held = f"{heat.limit_c:.0f}", f"{heat.limit_c - HELD_BELOW_C:.0f}"
    if settings.mode == "off":
        return tr("The heat guard is off: a run only warns.")
    if settings.mode == "hold":
        return tr("Training holds {held} °C by resting a little after each step, and pauses at {limit} °C.", held=held,
                  limit=limit)
    return tr("Training pauses at {limit} °C.", limit=limit)
