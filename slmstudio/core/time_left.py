"""How much longer something takes: one estimate for the window, the terminal and the status bar.

An estimate must neither jump nor flicker, and in the end it must be right. So it is kept by kind of work (a step takes
its time, an evaluation another), from the mean of the recent pieces: a median would be wrong where lengths vary, since
the time left is their sum. A piece that took unusually long says little about those to come, so it counts only as far
as `OUTLIER` allows.
"""

from __future__ import annotations

from dataclasses import dataclass

RECENT = 30
"""Pieces that the mean is of, roughly: older ones fade."""
OUTLIER = 3.0
"""A piece counts as no more than this many usual ones, and as no less than that part of one."""
FEW = 5
"""After this many pieces, it is known what is usual."""
RISE = 0.1
"""An estimate that is higher than the one before by no more than this share of it isn't told: time passes, so what is
told falls."""
PIECE_SECONDS = 1.0
"""Work that says how far it is many times a second is measured in pieces of this length."""


@dataclass
class _Pace:
    """What the pieces of one kind took, older ones faded: `seconds` for `count` units of work."""

    pieces: int = 0
    seconds: float = 0.0
    count: float = 0.0

    def add(self, seconds: float, count: float) -> None:
        self.pieces += 1
        if self.pieces <= 2:  # the first one warms up caches and counts only as long as there is no other
            self.seconds, self.count = seconds, count
            return
        if self.pieces > FEW:
            usual = self.seconds / self.count * count
            seconds = min(max(seconds, usual / OUTLIER), usual * OUTLIER)
        keep = 1.0 if self.pieces <= RECENT else 1 - 1 / RECENT
        self.seconds, self.count = keep * self.seconds + seconds, keep * self.count + count


class TimeLeft:
    """Estimates from pieces of work of several kinds, each told with what it took.

    Args:
        least: pieces of the first kind that are needed for an estimate.
    """

    def __init__(self, least: int = 1) -> None:
        self._least = least
        self._paces: dict[str, _Pace] = {}
        self._told: float | None = None

    def took(self, kind: str, seconds: float, count: float = 1.0) -> None:
        """A piece of work is done. Pauses, and the sleep of the machine, aren't part of `seconds`."""
        if seconds > 0 and count > 0:
            self._paces.setdefault(kind, _Pace()).add(seconds, count)

    def left(self, **work: float) -> float | None:
        """Seconds that this much more work of each kind takes, or None while nothing is known about the first of them.

        Other kinds that haven't been measured yet count as nothing.
        """
        first = self._paces.get(next(iter(work)))
        if first is None or first.pieces < self._least:
            return None
        known = [(self._paces[kind], count) for kind, count in work.items() if kind in self._paces]
        seconds = sum(count * pace.seconds / pace.count for pace, count in known)
        if self._told is not None and self._told < seconds <= self._told * (1 + RISE):
            seconds = self._told
        self._told = seconds
        return seconds


class ProgressLeft:
    """Estimates for work that says, whenever it likes, how much of it is done.

    Args:
        now: the moment at which it begins, in seconds on any clock that stands still during pauses.
    """

    def __init__(self, now: float) -> None:
        self._begin(0.0, now)

    def _begin(self, done: float, now: float) -> None:
        self._left, self._measured = TimeLeft(), False
        self._done, self._at = done, now

    def update(self, done: float, total: float, now: float) -> float | None:
        """Seconds left, or None while it isn't known. If less work is done than before, it has begun again."""
        if done < self._done:
            self._begin(done, now)
        if done > self._done and (now - self._at >= PIECE_SECONDS or not self._measured):
            self._left.took("work", now - self._at, done - self._done)
            self._done, self._at, self._measured = done, now, True
        return self._left.left(work=total - done) if 0 < done < total else None
