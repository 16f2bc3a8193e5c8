"""What happened in a run, as lines: told events, crashes between attempts, what the user or want of memory changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from slmstudio.core import jobs
from slmstudio.core.files import finite
from slmstudio.core.i18n import tr
from slmstudio.core.run.event_text import event_text, tone
from slmstudio.core.run.history import RunHistory

MOST_LINES = 150
_EVERYDAY = frozenset({"eval", "checkpoint_saved", "guard_rest", "guard_resume"})
"""Events that a long run has hundreds of; the evaluations have a table of their own, and the rests a sentence."""


@dataclass(frozen=True)
class Line:
    """One line of the timeline.

    Attributes:
        time: seconds since 1970, or None if the event has no time.
        work: seconds of work at that moment.
        tone: "warn" for what an approver should notice, "bad" for a failure, else "".
        everyday: left out first when there are too many lines.
    """

    time: float | None
    work: float
    text: str
    tone: str = ""
    everyday: bool = False


@dataclass
class Timeline:
    """
    Attributes:
        lines: what happened.
        crashes: attempts that ended without a word.
        pauses: how often it was paused.
    """

    lines: list[Line] = field(default_factory=list)
    crashes: int = 0
    pauses: int = 0


def of(history: RunHistory) -> Timeline:
    """What happened in a run."""
    found = Timeline()
    at_work = restarts = False
    for event, work in zip(history.told, history.told_at, strict=True):
        kind = str(event.get("type"))
        if kind == "job_started" and at_work and not restarts:
            found.crashes += 1
            found.lines.append(Line(None, work, tr("The previous worker ended unexpectedly: it crashed, was killed, or "
                                                   "the machine went down"), "bad"))
        if text := event_text(event):
            found.lines.append(Line(finite(event.get("time")), work, f"{text[0].upper()}{text[1:]}", tone(event),
                                    kind in _EVERYDAY))
        found.pauses += kind == "paused"
        if kind == "job_started":
            at_work, restarts = True, False
        elif kind == "job_ended":
            at_work = False
        elif kind in ("adjusted", jobs.MEMORY_KILL):
            restarts = True  # the next start is the program's own
    return found


def fitting(lines: list[Line], most: int = MOST_LINES) -> tuple[list[Line], str]:
    """The lines that fit into the page, and a sentence on what was left out."""
    if len(lines) <= most:
        return lines, ""
    kept = [line for line in lines if not line.everyday]
    note = tr("{lines:,} evaluations, checkpoints and rests are left out here; events.jsonl has them all.",
              lines=len(lines) - len(kept))
    if len(kept) > most:
        half = most // 2
        note = tr("{lines:,} lines are too many for a page. Apart from evaluations, checkpoints and rests, only the "
                  "first and last {half} are shown; events.jsonl has them all.", lines=len(lines),
                  half=half)
        kept = [*kept[:half], *kept[-half:]]
    return kept, note


def device_name(device: Any) -> str:
    return tr("the processor") if device == "cpu" else str(device or tr("a device that wasn't recorded"))
