"""Finds the share of rest between steps that holds a temperature."""

from __future__ import annotations

GAIN = 0.04
"""Share of rest a degree above the target, at once."""
INTEGRAL_SECONDS = 60.0
"""The same share again, each time it has stayed there for this many seconds."""
BRAKE_C, BRAKE_GAIN = 2.0, 0.1
"""From this many degrees above the target on, this much more per degree: it gets there fast the first time."""
AFTER_PAUSE, KEPT_SECONDS = 0.15, 300.0
"""A pause adds that share of rest; for this long at most, below the target, it isn't taken back."""
SLOW_CYCLE_SECONDS = 7.0
"""Steps with their rests that take longer than this are answered more softly: fewer looks, and each weighs more."""
MOST = 0.9
"""The greatest share of rest."""
LONGEST_SECONDS = 60.0
"""The longest rest after one step."""


class DutyCycle:
    """A PI controller with anti-windup: the error is the temperature above the target, the output a share of rest.

    The gains were found on simulated cards (tests/support/simulated_card.py): time constants from 20 s to 5 min, 25 to
    80 °C between idle and full load, steps from 0.2 to 20 s, a sensor that is up to 2 s late and says whole degrees.

    Attributes:
        share: of the time that is rested, 0 to `MOST`.
    """

    def __init__(self) -> None:
        self.share = self._integral = self._kept_seconds = 0.0

    def update(self, above_c: float, seconds: float) -> float:
        """A step is done.

        Args:
            above_c: how far the temperature is above the target, at its highest since the last call.
            seconds: that the last rest and the step took together.

        Returns:
            `share`.
        """
        softer = 1 + seconds / SLOW_CYCLE_SECONDS
        wanted = GAIN / softer * above_c
        brake = BRAKE_GAIN / softer * max(0.0, above_c - BRAKE_C)
        self._kept_seconds = self._kept_seconds - seconds if above_c < 0 else 0.0
        now = wanted + self._integral
        wound_up = now > MOST if above_c > 0 else now < 0 or self._kept_seconds > 0
        if not wound_up:
            self._integral = min(MOST, max(0.0, self._integral + wanted * seconds / INTEGRAL_SECONDS))
        self.share = min(MOST, max(0.0, wanted + brake + self._integral))
        return self.share

    def paused(self) -> None:
        """It got so hot that work had to pause: too little was rested. While it warms up again, nothing is unlearnt."""
        self._integral = min(MOST, self._integral + AFTER_PAUSE)
        self._kept_seconds = KEPT_SECONDS

    def rest_after(self, step_seconds: float) -> float:
        """Seconds of rest after a step of that length, so that `share` of both together is rest."""
        return min(LONGEST_SECONDS, self.share / (1 - self.share) * step_seconds)
