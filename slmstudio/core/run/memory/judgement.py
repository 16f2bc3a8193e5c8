"""Whether a run suits a machine: memory with a margin, and time. Whatever shows it, in the window or the terminal, asks
here."""

from __future__ import annotations

from dataclasses import dataclass

from slmstudio.core.hardware.guidance import LONG

FITS, TIGHT, NO = "fits", "tight", "no"
ENOUGH, LITTLE_ROOM, TOO_LITTLE, SLOW, UNKNOWN = "enough", "little_room", "too_little", "slow", "unknown"
COMFORTABLE = 0.8
"""Share of the free memory up to which a run fits without a doubt: other programs take some, and estimates err."""


@dataclass(frozen=True)
class Judgement:
    """
    Attributes:
        level: `FITS`, `TIGHT` (it may work, or work slowly) or `NO`.
        reason: `ENOUGH` of everything; `LITTLE_ROOM` or `TOO_LITTLE` memory; `SLOW`, more than a night; `UNKNOWN`,
            since nobody says how much memory is free.
    """

    level: str
    reason: str

    @property
    def fits(self) -> bool:
        return self.level == FITS


def judge(low: int, high: int, free: int | None, seconds: float | None = None) -> Judgement:
    """Judge a run.

    Args:
        low, high: bytes that it needs at its peak, at least and at most.
        free: bytes that are free where it computes; None if nobody says.
        seconds: how long it takes, measured or roughly; None if nobody knows.
    """
    if free is None:
        return Judgement(TIGHT, UNKNOWN)
    if low > free:
        return Judgement(NO, TOO_LITTLE)
    if seconds is not None and seconds > LONG:
        return Judgement(TIGHT, SLOW)
    return Judgement(FITS, ENOUGH) if high <= COMFORTABLE * free else Judgement(TIGHT, LITTLE_ROOM)
