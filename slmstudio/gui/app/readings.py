"""What the machine's sensors say, in words: short for the status bar, whole for its tooltips, and as the chip of the
hottest part.

What isn't reported is named as such: a missing reading is never 0.
"""

from __future__ import annotations

from slmstudio.core import units
from slmstudio.core.hardware import guidance
from slmstudio.core.hardware.guard import ASSUMED_SLOWDOWN_C
from slmstudio.core.hardware.heat_guard import Settings
from slmstudio.core.hardware.heat_limits import HELD_BELOW_C, Heat, heats
from slmstudio.core.hardware.nvml import GpuReading
from slmstudio.core.hardware.readings import MachineReading
from slmstudio.core.i18n import ptr, tr
from slmstudio.gui.common.widgets.labels import Chip

FAULTS = ("heat", "power supply", "hardware protection")
"""What slows a card down and deserves notice; every card reaches its power limit."""
MOST_CARDS = 2
"""Up to this many are shown one by one, more of them together."""


def gauges(reading: MachineReading) -> str:
    """"8.2 of 12 GB · 168 W", "GPU 0: 8.2 of 24 GB · 300 W | GPU 1: …", or what the processor does."""
    cards = reading.gpus
    if not cards:
        return _of_the_processor(reading)
    if len(cards) == 1:
        return _of_a_card(cards[0])
    if len(cards) <= MOST_CARDS:
        return "  |  ".join(tr("GPU {number}: {gauges}", number=card.index, gauges=_of_a_card(card))
                            for card in cards)
    used, total = (_sum([getattr(card, name) for card in cards if not card.lost]) for name in
                   ("memory_used", "memory_total"))
    watts = _sum([card.power_w for card in cards if not card.lost])
    parts = [tr("{count} GPUs", count=len(cards)),
             guidance.memory_of(int(used), int(total)) if used is not None and total is not None else "",
             tr("{watts:,.0f} W", watts=watts) if watts is not None else "",
             *(tr("GPU {number}: {trouble}", number=card.index, trouble=trouble(card)) for card in cards
               if trouble(card))]
    return " · ".join(filter(None, parts))


def trouble(card: GpuReading) -> str:
    """What is wrong with a card, in a few words; "" if nothing is."""
    if card.lost:
        return tr("lost")
    causes = {"heat": tr("slowed by heat"), "power supply": tr("slowed by its power supply"),
              "hardware protection": tr("slowed to protect itself")}
    return next((causes[cause] for cause in FAULTS if cause in (card.slowed_by or ())), "")


def tip(reading: MachineReading) -> str:
    """All readings, one per line, cards first."""
    return "\n\n".join([*(_card_tip(card) for card in reading.gpus), _machine_tip(reading)])


def _of_a_card(card: GpuReading) -> str:
    if card.lost:
        return tr("doesn't answer")
    parts = [_memory(card), tr("{watts:.0f} W", watts=card.power_w) if card.power_w is not None else "", trouble(card)]
    return " · ".join(filter(None, parts)) or tr("reports nothing")


def _of_the_processor(reading: MachineReading) -> str:
    cpu = reading.cpu
    parts = [tr("{degrees:.0f} °C", degrees=cpu.temperature_c) if cpu.temperature_c is not None else "",
             tr("{percent:.0f}% busy", percent=cpu.percent) if cpu.percent is not None else ""]
    told = tr("CPU {gauges}", gauges=" · ".join(filter(None, parts))) if any(parts) else ""
    return " · ".join(filter(None, [told, _memory(reading)]))


def _memory(of: GpuReading | MachineReading, unknown: str = "") -> str:
    known = of.memory_used is not None and of.memory_total is not None
    return guidance.memory_of(of.memory_used, of.memory_total) if known else unknown


def _sum(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _told(value: float | None, unit: str) -> str:
    """A value with its unit, or that it isn't reported."""
    return tr("not reported") if value is None else units.format_reading(value, unit)


def _card_tip(card: GpuReading) -> str:
    name = tr("GPU {number}: {name}", number=card.index, name=card.name)
    if card.lost:
        return f"{name}\n{card.message}"
    causes = {"heat": tr("heat"), "power limit": tr("its power limit"), "power supply": tr("the power supply"),
              "hardware protection": tr("its own protection")}
    held = tr("not reported") if card.slowed_by is None else ", ".join(
        causes.get(cause, cause) for cause in card.slowed_by) or tr("nothing")
    return "\n".join([name, *(f"{label}: {text}" for label, text in (
        (ptr("how hot it is", "Temperature"), _told(card.temperature_c, "°C")),
        (tr("Slows itself down at"), _told(card.slowdown_c, "°C")),
        (tr("Switches itself off at"), _told(card.shutdown_c, "°C")),
        (tr("Memory temperature"), _told(card.memory_temperature_c, "°C")),
        (tr("Power"), _told(card.power_w, "W")), (tr("Power limit"), _told(card.power_limit_w, "W")),
        (tr("Memory in use"), _memory(card, tr("not reported"))),
        (tr("Load"), _told(card.utilisation, "%")),
        (tr("Memory load"), _told(card.memory_utilisation, "%")),
        (tr("Clock"), _told(card.clock_mhz, "MHz")),
        (tr("Memory clock"), _told(card.memory_clock_mhz, "MHz")),
        (tr("Fan"), _told(card.fan_percent, "%")), (tr("Limited by"), held)))])


def _machine_tip(reading: MachineReading) -> str:
    cpu = reading.cpu
    return "\n".join([tr("Processor and memory"), *(f"{label}: {text}" for label, text in (
        (ptr("how hot it is", "Temperature"), _told(cpu.temperature_c, "°C")), (tr("Load"), _told(cpu.percent, "%")),
        (tr("Clock"), _told(cpu.clock_mhz, "MHz")), (tr("Memory in use"), _memory(reading, tr("not reported"))),
        (tr("Free on the disk of the runs"),
         tr("not reported") if reading.disk_free is None else units.format_bytes(reading.disk_free)),
        (tr("Battery"), _battery(reading))))])


def _battery(reading: MachineReading) -> str:
    battery = reading.battery
    if battery is None:
        return tr("none, or not reported")
    percent = f"{battery.percent:.0f}"
    if battery.plugged is None:
        return tr("{percent}%", percent=percent)
    return tr("{percent}%, plugged in", percent=percent) if battery.plugged else \
        tr("{percent}%, not plugged in", percent=percent)


# -- The chip of the hottest part: how hot, how near to where the heat guard acts, and all of it as a tooltip.

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
