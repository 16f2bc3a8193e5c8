"""What the heat guard did, by a job's events."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from slmstudio.core.run.guard.summary import GuardSummary


def of_events(events: Iterable[dict[str, Any]]) -> GuardSummary:
    found = GuardSummary()
    for event in events:
        found.add(event)
    return found.ended()
