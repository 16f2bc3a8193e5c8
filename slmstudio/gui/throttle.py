"""The one place that decides how often a view is drawn anew."""

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
        self._last = 0.0
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._run)

    def request(self) -> None:
        if not self._timer.isActive():
            wait = self._last + 1 / REDRAWS_A_SECOND - time.monotonic()
            self._timer.start(max(0, round(wait * 1000)))

    def _run(self) -> None:
        self._last = time.monotonic()
        self._act()
