"""What the heat guard did, by a job's events."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from slmstudio.core.run.guard_summary import GuardSummary
from slmstudio.core.run.history import RunHistory


def of_events(events: Iterable[dict[str, Any]]) -> GuardSummary:
    history = RunHistory()
    for event in events:
        history.add(event)
    return history.guard.ended()
