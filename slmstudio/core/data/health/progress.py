"""Reports how far a long check is, and stops it when asked to."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from slmstudio.core.data.source import ReadingCancelled
from slmstudio.core.i18n import tr

ROWS_BETWEEN_REPORTS = 2000
ROWS_BETWEEN_QUESTIONS = 100
CHARACTERS_BETWEEN_QUESTIONS = 100_000
SECONDS_BETWEEN_QUESTIONS = 0.05


class CancellableProgress:
    """Counts rows, with how much is in them."""

    def __init__(self, total: int, progress: Callable[[int, int], None] | None = None,
                 cancelled: Callable[[], bool] | None = None):
        self._total, self._progress, self._cancelled = total, progress, cancelled
        self._done = self._rows = self._characters = 0
        self._asked = 0.0

    def step(self, characters: int) -> None:
        """One row is done.

        Raises:
            ReadingCancelled: `cancelled` returned True.
        """
        self._done += 1
        self._rows += 1
        self._characters += characters
        if self._progress is not None and self._done % ROWS_BETWEEN_REPORTS == 0:
            self._progress(min(self._done, self._total), self._total)
        if self._rows >= ROWS_BETWEEN_QUESTIONS or self._characters >= CHARACTERS_BETWEEN_QUESTIONS:
            self._rows = self._characters = 0
            self.ask(0)

    def ask(self, seconds: float = SECONDS_BETWEEN_QUESTIONS) -> None:
        """Called during work that takes a while and isn't a row; asks whether to stop if it hasn't for so long.

        Raises:
            ReadingCancelled: `cancelled` returned True.
        """
        if monotonic() - self._asked >= seconds:
            self._asked = monotonic()
            if self._cancelled is not None and self._cancelled():
                raise ReadingCancelled(tr("The check was cancelled."))

    def finish(self) -> None:
        """Everything is done."""
        if self._progress is not None:
            self._progress(self._total, self._total)
