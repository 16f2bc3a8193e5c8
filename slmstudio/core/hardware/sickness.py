"""Notices when something holds a card back for long: heat, a weak power supply, or its own protection."""

from __future__ import annotations

from slmstudio.core.hardware.nvml import GpuReading
from slmstudio.core.i18n import noop, tr

SECONDS = 10.0
"""How long it must last before it is reported, and how long it must be gone before it may be reported again."""
SENTENCES = {
    "heat": ("gpu_slowed_by_heat",
             noop("The GPU is too hot and has slowed itself down. Training continues, but more slowly. Cool it: clear "
                  "the vents, clean the fans, speed them up, or lower the power limit.")),
    "power supply": ("gpu_slowed_by_power",
                     noop("The GPU has been slowed down because the power supply can't give it what it needs. Check "
                          "its power cables and whether the supply is strong enough; use the charger that a laptop "
                          "came with.")),
    "hardware protection": ("gpu_slowed_by_protection",
                            noop("The GPU has slowed itself down to protect itself. Heat and a weak power supply are "
                                 "the usual causes: check fans, vents, power cables and the charger.")),
}
_OF_HEAT = ("gpu_slowed_by_heat", "gpu_slowed_by_protection")
"""Warnings that say how hot the card is."""
"""For each thing that slows a card down: a warning's code and its sentence. A power limit isn't a fault: every card
reaches it."""


class SlowdownWatch:
    """Takes the readings of one card and says when it is held back: once, until it has been running freely for some
    seconds."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}  # when this cause appeared, or when it disappeared after being reported
        self._told: set[str] = set()

    def update(self, reading: GpuReading, now: float) -> list[tuple[str, str]]:
        """The warnings that are due now, each with its code and its sentence.

        Args:
            now: in seconds, from any monotonic clock.
        """
        if reading.slowed_by is None:  # it doesn't say, or is lost
            return []
        causes = set(reading.slowed_by)
        if causes & {"heat", "power supply"}:
            causes.discard("hardware protection")  # set along with them
        warnings = []
        for cause, (code, sentence) in SENTENCES.items():
            if (cause in causes) == (cause in self._told):
                self._since.pop(cause, None)
                continue
            if now - self._since.setdefault(cause, now) < SECONDS:
                continue
            self._told ^= {cause}
            del self._since[cause]
            if cause in causes:
                said = tr(sentence)
                if code in _OF_HEAT and reading.temperature_c is not None:
                    said += " " + tr("It's at {degrees} °C.", degrees=reading.temperature_c)
                warnings.append((code, said))
        return warnings
