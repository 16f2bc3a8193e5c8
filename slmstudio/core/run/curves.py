"""The points of a run's curves, and their smoothing."""

from __future__ import annotations

import bisect
import math
from array import array


class Series:
    """Points of one curve with rising x.

    Attributes:
        x: steps, or seconds of work.
        y: values in the unit of the field; NaN where the worker measured a number that is none.
    """

    __slots__ = ("x", "y")

    def __init__(self) -> None:
        self.x, self.y = array("d"), array("d")

    def __len__(self) -> int:
        return len(self.x)

    def add(self, x: float, y: float) -> None:
        """Append a point. Points at or after `x` are of an earlier attempt, and go."""
        if self.x and x <= self.x[-1]:
            self.cut(x)
        self.x.append(x)
        self.y.append(y)

    def cut(self, x: float) -> None:
        """Drop the points at `x` and after."""
        index = bisect.bisect_left(self.x, x)
        del self.x[index:]
        del self.y[index:]

    def last(self) -> float | None:
        """The newest value that is a number."""
        return next((value for value in reversed(self.y) if math.isfinite(value)), None)


class Smoother:
    """Exponential moving average without the pull towards zero at the start.

    m ← w·m + (1 − w)·x, shown as m / (1 − wⁿ): the debiased form of Adam (Kingma & Ba 2015, section 3).
    NaN leaves the average as it was.
    """

    def __init__(self, weight: float):
        if not 0 <= weight < 1:
            raise ValueError(f"the weight must be from 0 to below 1, not {weight}")
        self.weight = weight
        self.values = array("d")
        self._mean, self._debias = 0.0, 1.0

    def extend(self, values: array[float]) -> array[float]:
        """Take the values that came since the last call, and return all averages.

        Args:
            values: all values so far; those of the last call are still the same.
        """
        weight, mean, debias, out = self.weight, self._mean, self._debias, self.values
        for value in values[len(out) :]:
            if math.isfinite(value):
                mean = weight * mean + (1 - weight) * value
                debias *= weight
            out.append(mean / (1 - debias) if debias < 1 else value)
        self._mean, self._debias = mean, debias
        return out
