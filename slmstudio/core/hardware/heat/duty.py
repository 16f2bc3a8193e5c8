"""Finds the share of rest between steps that holds a temperature."""

from __future__ import annotations

GAIN = 0.05
"""Share of rest a degree above the target, at once."""
INTEGRAL_SECONDS = 60.0
"""The same share again for each so many seconds that it stays there."""
SLOW_CYCLE_SECONDS = 10.0
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
        self.share = self._integral = 0.0

    def update(self, above_c: float, seconds: float) -> float:
        """A step is done.

        Args:
            above_c: how far the temperature is above the target, at its highest since the last call.
            seconds: that the last rest and the step took together.

        Returns:
            `share`.
        """
        wanted = GAIN / (1 + seconds / SLOW_CYCLE_SECONDS) * above_c
        integral = self._integral + wanted * seconds / INTEGRAL_SECONDS
        if 0 <= wanted + integral <= MOST or (wanted + integral > MOST) != (above_c > 0):
            self._integral = min(MOST, max(0.0, integral))  # else it would wind up against an end stop
        self.share = min(MOST, max(0.0, wanted + self._integral))
        return self.share

    def rest_after(self, step_seconds: float) -> float:
        """Seconds of rest after a step of that length, so that `share` of both together is rest."""
        return min(LONGEST_SECONDS, self.share / (1 - self.share) * step_seconds)
