"""Watches the GPU's heat and says when to warn."""

from __future__ import annotations

import os
import statistics
from typing import Literal

from slmstudio.core.hardware import wsl
from slmstudio.core.hardware.nvml import GpuReading
from slmstudio.core.i18n import join_sentences, noop, tr

# -- Notices when Windows moves GPU memory into main memory: nothing fails, and each step takes many times as long.

FULL_SHARE = 0.97
"""The share of the GPU's own memory from which the driver spills."""
JUMP = 2.5
"""Times the usual duration of a step. Rows of other lengths change it by less, over this many steps."""
STEPS = 5
USUAL_STEPS = 20


def can_spill() -> bool:
    """Whether this system's driver moves GPU memory instead of refusing it: Windows and WSL2."""
    return os.name == "nt" or wsl.is_wsl()


class SpillWatch:
    """Takes the duration of each step and the memory readings; speaks once."""

    def __init__(self) -> None:
        self._seconds_per_token: list[float] = []
        self._reported = False

    def update(self, seconds: float, tokens: int, memory_used: int | None, memory_total: int | None) -> str | None:
        """
        Args:
            seconds: duration of a step.
            tokens: it learned from; longer rows take longer by themselves.
            memory_used, memory_total: of the GPU, in bytes; None when they aren't measured.

        Returns:
            A sentence when memory spills, once; otherwise None.
        """
        if tokens <= 0:
            return None
        self._seconds_per_token.append(seconds / tokens)
        recent, before = self._seconds_per_token[-STEPS:], self._seconds_per_token[:-STEPS][:USUAL_STEPS]
        if self._reported or len(before) < STEPS or memory_used is None or not memory_total:
            return None
        factor = statistics.median(recent) / statistics.median(before)
        if memory_used < FULL_SHARE * memory_total or factor < JUMP:
            return None
        self._reported = True
        return tr("The GPU's memory is full and steps take {factor:.1f} times as long as before: the driver is moving "
                  "data to main memory. Halve the micro-batch size, or close other programs that use the GPU.",
                  factor=factor)


# -- Notices when something holds a card back for long: heat, a weak power supply, or its own protection.

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
"""For each thing that slows a card down: a warning's code and its sentence. A power limit isn't a fault: every card
reaches it."""
_OF_HEAT = ("gpu_slowed_by_heat", "gpu_slowed_by_protection")
"""Warnings that say how hot the card is."""


class SlowdownWatch:
    """Takes the readings of one card and says when it is held back: once, until it has been running freely for some
    seconds."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}  # when this cause appeared, or when it disappeared after being reported
        self._reported: set[str] = set()

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
            if (cause in causes) == (cause in self._reported):
                self._since.pop(cause, None)
                continue
            if now - self._since.setdefault(cause, now) < SECONDS:
                continue
            self._reported ^= {cause}
            del self._since[cause]
            if cause in causes:
                message = tr(sentence)
                if code in _OF_HEAT and reading.temperature_c is not None:
                    message += " " + tr("It's at {degrees} °C.", degrees=reading.temperature_c)
                warnings.append((code, message))
        return warnings


ASSUMED_SLOWDOWN_C = 88
"""For cards that don't report their slowdown temperature: the lowest "maximum GPU temperature" in NVIDIA's data sheets
of the GeForce RTX 20 to 40 cards, which range from 88 to 93 °C. So such a card warns at 83 °C."""


class HeatWatch:
    """Warns when the GPU comes within `MARGIN` °C of slowing itself down, once, until it has cooled again.

    Attributes:
        slowdown_c: where the card slows itself down; `ASSUMED_SLOWDOWN_C` while it doesn't say.
        reported: whether the card said so.
        warning: whether it is too hot now.
    """

    HYSTERESIS, MARGIN = 3, 5

    def __init__(self) -> None:
        self.slowdown_c, self.reported, self.warning = ASSUMED_SLOWDOWN_C, False, False

    @property
    def warn_c(self) -> int:
        """A warning begins at this temperature, and ends `HYSTERESIS` °C below it."""
        return self.slowdown_c - self.MARGIN

    def update(self, temperature_c: int | None, slowdown_c: int | None = None) -> Literal["warn", "clear"] | None:
        """Take a new reading and say what changed; None when nothing did.

        Args:
            temperature_c: None (the card doesn't say) changes nothing.
            slowdown_c: the card's newest word on it; newer cards report a distance that moves by some degrees.
        """
        if slowdown_c is not None:
            self.slowdown_c, self.reported = slowdown_c, True
        if temperature_c is None:
            return None
        if not self.warning and temperature_c >= self.warn_c:
            self.warning = True
            return "warn"
        if self.warning and temperature_c <= self.warn_c - self.HYSTERESIS:
            self.warning = False
            return "clear"
        return None

    def sentence(self, temperature_c: int) -> str:
        if self.reported:
            hot = tr("The GPU is at {degrees} °C; it slows itself down at {limit} °C.", degrees=temperature_c,
                     limit=self.slowdown_c)
        else:
            hot = tr("The GPU is at {degrees} °C; it doesn't report its limit, but most cards slow down between "
                     "{low} and 93 °C.", degrees=temperature_c, low=ASSUMED_SLOWDOWN_C)
        remedy = tr("Training continues, perhaps more slowly. Cool it: clear the vents, speed up the fans, lower the "
                    "power limit, or pause the run.")
        return join_sentences(hot, remedy)
