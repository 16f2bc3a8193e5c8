"""Trying again: a connection that breaks, and a hub that is busy, aren't a reason to give up at once."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Callable
from typing import Any, TypeVar

from slmstudio.core.errors import causes
from slmstudio.core.i18n import tr
from slmstudio.core.units import format_duration
from slmstudio.worker.download.transfer import Broken
from slmstudio.worker.runtime import network

Result = TypeVar("Result")
WAITS = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds to wait, after this many failures in a row that brought nothing."""
AT_ONCE = 0.2
"""Seconds to wait where something had come."""
LONGEST = 300.0
"""Seconds that a hub may ask for."""
BUSY = (408, 429, 500, 502, 503, 504)


class Patience:
    """Does work that may fail for a while.

    Args:
        tell: is told in a sentence that it waits.
    """

    def __init__(self, tell: Callable[[str], None]):
        self._tell = tell
        self._reached = False

    def __call__(self, work: Callable[[], Result], arrived: Callable[[], int] = lambda: 0) -> Result:
        """Do it, again where that may help. A hub that was never reached isn't tried again: that is said at once.

        Args:
            arrived: how much there is of what the work brings.

        Raises:
            Exception: what the work raised last.
        """
        failures = 0
        while True:
            before = arrived()
            try:
                result = work()
                self._reached = True
                return result
            except Exception as error:
                failures = 0 if arrived() > before else failures + 1
                wait = self._wait(error, failures)
                if wait is None:
                    raise
                time.sleep(wait)

    def _wait(self, error: Exception, failures: int) -> float | None:
        """Seconds to wait; None if waiting doesn't help."""
        status = network.status(error)
        self._reached = self._reached or status is not None
        broken = status is None and self._reached and (isinstance(error, Broken) or network.is_unreachable(error))
        if failures > len(WAITS) or not (broken or status in BUSY):
            return None
        asked = asked_wait(error)
        wait = asked if asked is not None else WAITS[failures - 1] if failures else AT_ONCE
        if wait > LONGEST:
            return None
        self._tell(tr("The connection was lost. Trying again in {duration}.",
                      duration=format_duration(wait)) if broken else
                   tr("The hub is busy. Trying again in {duration}.", duration=format_duration(wait)))
        return wait


def asked_wait(error: BaseException) -> float | None:
    """Seconds for which a busy hub asks to be left alone, where it says."""
    headers: Any = next((response.headers for each in causes(error)
                         if (response := getattr(each, "response", None)) is not None), {})
    value = (headers.get("Retry-After") or "").strip()
    if value.isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        pass
    from huggingface_hub.utils import parse_ratelimit_headers

    limit = parse_ratelimit_headers(headers)
    return float(limit.reset_in_seconds) if limit is not None and limit.remaining == 0 else None
