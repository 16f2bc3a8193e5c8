"""Reports how far a long check is, and stops it when asked to."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from slmstudio.core.data.source import ReadingCancelled
from slmstudio.core.i18n import tr

ROWS_BETWEEN_REPORTS = 2000
SECONDS_BETWEEN_QUESTIONS = 0.005


class CancellableProgress:
    """Counts steps: `progress` is called with (steps done, steps in all), and `cancelled` is asked whether to end."""

    def __init__(self, total: int, progress: Callable[[int, int], None] | None = None,
                 cancelled: Callable[[], bool] | None = None):
        self._total, self._progress, self._cancelled = total, progress, cancelled
        self._done, self._asked = 0, 0.0

    def step(self) -> None:
        """One row is done. Raises ReadingCancelled."""
        self._done += 1
        if self._progress is not None and self._done % ROWS_BETWEEN_REPORTS == 0:
            self._progress(min(self._done, self._total), self._total)
        self.ask()

    def ask(self) -> None:
        """Called often during long work.

        Raises:
            ReadingCancelled: `cancelled` returned True; it is asked every few milliseconds.
        """
        if self._cancelled is not None and monotonic() - self._asked >= SECONDS_BETWEEN_QUESTIONS:
            self._asked = monotonic()
            if self._cancelled():
                raise ReadingCancelled(tr("The check was cancelled."))
