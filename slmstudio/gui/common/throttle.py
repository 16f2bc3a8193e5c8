"""The one place that decides how often a view is redrawn."""

from __future__ import annotations

import time
from collections.abc import Callable

from PySide6.QtCore import QObject, QTimer

REDRAWS_A_SECOND = 20


class Throttle(QObject):
    """Lets `act` run at most `REDRAWS_A_SECOND` times a second, and always once after the last request."""

    def __init__(self, act: Callable[[], None], parent: QObject):
        super().__init__(parent)
        self._act = act
        self._not_before = 0.0
        self._timer = QTimer(self, singleShot=True, timeout=self._run)

    def request(self) -> None:
        if not self._timer.isActive():
            self._timer.start(max(0, round((self._not_before - time.monotonic()) * 1000)))

    def rest(self, seconds: float) -> None:
        """Do not run again for this long: what is expensive to draw is drawn less often."""
        self._not_before = max(self._not_before, time.monotonic() + seconds)

    def _run(self) -> None:
        self._not_before = time.monotonic() + 1 / REDRAWS_A_SECOND
        self._act()
