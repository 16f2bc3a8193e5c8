"""What the machine's sensors say, in words: short for the status bar, whole for its tooltips.

What isn't reported is named as such: a missing reading is never 0.
"""

from __future__ import annotations

from slmstudio.core import units
from slmstudio.core.hardware import guidance
from slmstudio.core.hardware.nvml import GpuReading
from slmstudio.core.hardware.readings import MachineReading
from slmstudio.core.i18n import ptr, tr

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
