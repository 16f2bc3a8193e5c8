"""Watches the GPU's heat and says when to warn."""

from __future__ import annotations

from typing import Literal

from slmstudio.core.i18n import together, tr

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
        return together(hot, remedy)
