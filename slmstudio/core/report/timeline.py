"""What happened in a run, as lines: told events, crashes between attempts, what the user or want of memory changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from slmstudio.core import jobs, units
from slmstudio.core.files import an_object, finite
from slmstudio.core.i18n import noop, tr
from slmstudio.core.report.text import exact, rounded
from slmstudio.core.run.config import label
from slmstudio.core.run.history import TOLD, RunHistory

MOST_LINES = 150
_EVERYDAY = frozenset({"eval", "checkpoint_saved", "guard_rest", "guard_resume"})
"""Events that a long run has hundreds of; the evaluations have a table of their own, and the rests a sentence."""
_SAVED = noop("Checkpoint saved at step {step}")
_REASONS = {
    "requested": noop("Checkpoint saved at step {step}, requested by the user"),
    "stop": noop("Checkpoint saved at step {step}, before stopping"),
    "free": noop("Checkpoint saved at step {step}, before the memory was freed"),
    "rest": noop("Checkpoint saved at step {step}, before a rest"),
    "best": noop("Checkpoint saved at step {step}, the best so far"),
    "end": noop("Checkpoint saved at step {step}, at the end"),
}


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
    at_work = restarts = measured = False
    for event, work in zip(history.told, history.told_at, strict=True):
        kind = str(event.get("type"))
        if kind == "job_started" and at_work and not restarts:
            found.crashes += 1
            found.lines.append(Line(None, work, tr("The previous worker ended unexpectedly: it crashed, was killed, or "
                                                   "the machine went down"), "bad"))
        loss = finite(event.get("eval_loss"))
        if text := describe(event, event.get("best") is True or (loss is not None and not measured)):
            found.lines.append(Line(finite(event.get("time")), work, text, tone(event), kind in _EVERYDAY))
        measured = measured or loss is not None
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


def describe(event: dict[str, Any], is_best: bool = False) -> str:
    """An event as a line; "" for what needs none."""
    kind = str(event.get("type"))
    if kind not in TOLD and kind != "eval":
        return ""
    if kind == "eval":
        loss = event.get("eval_loss")
        found = {"loss": rounded(loss, 4), "step": _step(event)}
        return (tr("Eval loss {loss} at step {step}, the best so far", **found) if is_best else
                tr("Eval loss {loss} at step {step}", **found))
    if kind in _TEXTS:
        return _TEXTS[kind](event)
    return str(event.get("message") or event.get("code") or "").rstrip(".।")


def tone(event: dict[str, Any]) -> str:
    kind = event.get("type")
    if kind == jobs.MEMORY_KILL or (kind == "job_ended" and event.get("state") in ("failed", "crashed")):
        return "bad"
    asleep = kind == "sleep_prevented" and event.get("on") is False
    return "warn" if asleep or kind in ("warning", "adjusted", "overfitting", "suspended", "changed") else ""


def _step(event: dict[str, Any]) -> str:
    return exact(event.get("global_step")) or "?"


def _plan(event: dict[str, Any]) -> str:
    return tr("{trained} of {parameters} parameters are trained, from {rows} rows in {steps} steps, on {device}",
              trained=units.format_count(_number(event, "trainable_parameters")),
              parameters=units.format_count(_number(event, "parameters")), rows=exact(event.get("train_rows")) or "?",
              steps=exact(event.get("total_steps")) or "?", device=device_name(event.get("device")))


def device_name(device: Any) -> str:
    return tr("the processor") if device == "cpu" else str(device or tr("a device that wasn't recorded"))


def _number(event: dict[str, Any], name: str) -> float:
    return finite(event.get(name)) or 0.0


def _saved(event: dict[str, Any]) -> str:
    return tr(_REASONS.get(str(event.get("reason")), _SAVED), step=_step(event))


def _changed(event: dict[str, Any]) -> str:
    return tr("Changed by the user at step {step}: learning rate {rate}, {total} steps in all", step=_step(event),
              rate=exact(event.get("learning_rate")) or "?", total=exact(event.get("total_steps")) or "?")


def _adjusted(event: dict[str, Any]) -> str:
    before = an_object(event.get("was"))
    named = ", ".join(f"{label(name)} {exact(before.get(name)) or tr('not set')} → {exact(value) or tr('not set')}"
                      for name, value in an_object(event.get("changes")).items())
    return (str(event.get("message") or tr("The run continues with different values")).rstrip(".।")
            + (f" ({named})" if named else ""))


def _sleep(event: dict[str, Any]) -> str:
    return tr("The machine may have gone to sleep: {reason}", reason=event.get("reason") or tr("no reason given")) \
        if event.get("on") is False else ""


def _suspended(event: dict[str, Any]) -> str:
    return tr("Suspended for {duration} ({seconds} s) while the machine was asleep; not counted as work",
              duration=units.format_duration(_number(event, "seconds")), seconds=exact(event.get("seconds")) or "?")


_TEXTS: dict[str, Callable[[dict[str, Any]], str]] = {
    "job_started": lambda event: tr("Worker started"),
    "plan": _plan,
    "resumed_from": lambda event: tr("Resumed from the checkpoint of step {step}", step=_step(event)),
    "checkpoint_saved": _saved,
    "paused": lambda event: (tr("Paused at step {step}, because the disk was full", step=_step(event))
                             if event.get("reason") == "disk_full" else
                             tr("Paused at step {step}", step=_step(event))),
    "resumed": lambda event: tr("Resumed at step {step}", step=_step(event)),
    "changed": _changed,
    "adjusted": _adjusted,
    "sleep_prevented": _sleep,
    "suspended": _suspended,
    "job_ended": lambda event: tr("Ended: {state}", state=tr(str(event.get("state") or "unknown"))),
    jobs.MEMORY_KILL: lambda event: tr("The system ended the worker because memory ran out"),
}
