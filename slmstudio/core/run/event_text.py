"""What an event of a run says, as a line for window, terminal and report: made of its type and figures when it is
read. Only warnings, and what the heat guard says, are read as the worker wrote them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from slmstudio.core import jobs, units
from slmstudio.core.files import an_object, number
from slmstudio.core.i18n import ntr, number_text, tr
from slmstudio.core.jobs.outcome import state_text
from slmstudio.core.run import config as run_config
from slmstudio.core.run.run_fields import write

if TYPE_CHECKING:
    from slmstudio.core.run.history import RunHistory

Event = dict[str, Any]


def event_text(event: Event) -> str:
    """One of `RunHistory.told` as a line; "" for what needs none."""
    kind, step = str(event.get("type")), event.get("global_step")
    at = number_text(step) if isinstance(step, int) else "?"
    return _TEXTS[kind](event, at) if kind in _TEXTS else ""


def tone(event: Event) -> str:
    """How much one of `RunHistory.told` wants to be noticed: "warn", "bad" for a failure, else ""."""
    kind = event.get("type")
    if kind == jobs.MEMORY_KILL or (kind == "job_ended" and event.get("state") in ("failed", "crashed")):
        return "bad"
    asleep = kind == "sleep_prevented" and event.get("on") is False
    return "warn" if asleep or kind in ("warning", "adjusted", "overfitting", "suspended", "changed",
                                        "guard_unavailable") else ""


def adjusted_text(event: Event) -> str:
    """What the worker lowered, and why."""
    given, before = an_object(event.get("changes")), an_object(event.get("was"))
    order = list(run_config.FIELDS)
    parts = [_change(name, before.get(name), value) for name, value in
             sorted(given.items(), key=lambda item: order.index(item[0]) if item[0] in order else len(order))]
    if event.get("reason") == "out_of_memory":
        return tr("memory ran out, so the run continues with {changes}", changes=", ".join(parts))
    return tr("the run continues with {changes}", changes=", ".join(parts))


def _change(name: str, before: Any, after: Any) -> str:
    """As in "Micro-batch, rows 8 → 4"; what was switched on or off has no value before."""
    now = tr("on") if after is True else tr("off") if after is False else write(after) or tr("not set")
    label = run_config.label(name)
    return f"{label} {now}" if before is None or isinstance(before, bool) else f"{label} {write(before)} → {now}"


def changes_texts(history: RunHistory, config: run_config.RunConfig) -> list[str]:
    """What was changed while a run trained, and where it stood still, in order: "Micro-batch, rows 8 → 4 at step 120".

    Args:
        config: as it was planned.
    """
    now, found = config.to_dict(), [(number(event, "time") or 0.0, event_text(event)) for event in history.told
                                    if event.get("type") in ("paused", "resumed_from")]
    for name, value, event in history.later_values():
        before, now[name] = now.get(name), value
        if before != value:
            step, change = event.get("global_step"), _change(name, before, value)
            found.append((number(event, "time") or 0.0, tr("{change} at step {step:,}", change=change, step=step)
                          if isinstance(step, int) else change))
    return [text for _, text in sorted(found, key=lambda each: each[0])]


def change_text(event: Event) -> str:
    """What a `changed` event made different: "learning rate 1e-4, 500 steps"."""
    names = an_object(event.get("asked"))
    rate, total = number(event, "learning_rate"), number(event, "total_steps")
    parts = []
    if rate is not None and "learning_rate" in names:
        parts.append(tr("learning rate {rate}", rate=write(float(rate))))
    if total is not None and ("max_steps" in names or "epochs" in names):
        parts.append(ntr("{n:,} step", "{n:,} steps", int(total)))
    return ", ".join(parts)


def _eval(event: Event, at: str) -> str:
    loss = number(event, "eval_loss")
    if loss is None:
        return tr("eval loss at step {step} isn't a number", step=at)
    if event.get("best"):
        return tr("best eval loss {loss:.3f}, step {step}", loss=loss, step=at)
    return tr("eval loss {loss:.3f}, step {step}", loss=loss, step=at)


def _saved(event: Event, at: str) -> str:
    reason = str(event.get("reason") or "interval")
    if reason == "interval":
        return tr("checkpoint saved, step {step}", step=at)
    return tr("checkpoint saved, step {step}: {reason}", step=at, reason={
        "requested": tr("you asked for it"), "stop": tr("before stopping"), "free": tr("before its memory is freed"),
        "rest": tr("before a rest"), "best": tr("the best so far"), "end": tr("at the end")}.get(reason, reason))


def _planned(event: Event, at: str) -> str:
    return ntr("{learned} of {all} parameters are trained, {n:,} row",
               "{learned} of {all} parameters are trained, {n:,} rows", int(number(event, "train_rows") or 0),
               learned=units.format_count(number(event, "trainable_parameters") or 0),
               all=units.format_count(number(event, "parameters") or 0))


def _overfitting(event: Event, at: str) -> str:
    step, loss = number(event, "global_step"), number(event, "eval_loss")
    if step is None or loss is None:
        return tr("eval loss was lowest at step {step} and has risen since: overfitting begins", step=at)
    if not step:
        return tr("Eval loss was lowest before training ({best_loss:.3f}): so far, the model only gets worse on "
                  "rows it isn't trained on. Lower the learning rate, or check whether the two files are alike.",
                  best_loss=loss)
    return tr("Eval loss was lowest at step {best_step:,} ({best_loss:.3f}) and has risen since: the model is "
              "starting to overfit. More or different rows help, or fewer epochs.", best_step=int(step),
              best_loss=loss)


def _sleep(event: Event, at: str) -> str:
    if event.get("on") is not False:
        return ""
    reason = str(event.get("reason") or "")
    if not reason:
        return tr("the machine may go to sleep during training")
    return tr("the machine may go to sleep during training: {reason}", reason=reason)


def _stopped_early(event: Event, at: str) -> str:
    best = event.get("best_step")
    return tr("ended early at step {step}: eval loss didn't improve after step {best}", step=at,
              best=number_text(best) if isinstance(best, int) else "?")


def _measured(event: Event, at: str) -> str:
    peak, step, low, high = (number(event, name) for name in ("peak_bytes", "seconds_per_step", "low", "high"))
    if peak is None or step is None or low is None or high is None:
        return ""
    return tr("the longest rows take {peak} (estimated: {span}), and a step takes {time}",
              peak=units.format_bytes(peak), span=units.format_span(low, high), time=units.format_duration(step))


def _best_used(event: Event, at: str) -> str:
    loss, strength = number(event, "eval_loss"), number(event, "strength")
    if loss is None:
        return tr("the result contains the weights of step {step}", step=at)
    if strength not in (None, 1.0):
        return tr("the result contains the weights of step {step}, the adapter at {share} of its strength, eval loss "
                  "{loss:.3f}", step=at, share=f"{strength:.0%}", loss=loss)
    return tr("the result contains the weights of step {step}, eval loss {loss:.3f}", step=at, loss=loss)


def _message(event: Event, at: str) -> str:
    return str(event.get("message") or event.get("code") or "")


_TEXTS: dict[str, Callable[[Event, str], str]] = {
    "job_started": lambda event, at: tr("worker started"),
    "paused": lambda event, at: tr("paused at step {step}", step=at),
    "resumed": lambda event, at: tr("continues at step {step}", step=at),
    "resumed_from": lambda event, at: tr("continues from the checkpoint of step {step}", step=at),
    "eval": _eval, "checkpoint_saved": _saved, "plan": _planned, "overfitting": _overfitting,
    **dict.fromkeys(("warning", "guard_rest", "guard_resume", "guard_changed", "guard_unavailable",
                     "power_limit_advised"), _message),
    "suspended": lambda event, at: tr("the machine slept for {time}; this isn't counted as work",
                                      time=units.format_duration(number(event, "seconds") or 0.0)),
    "sleep_prevented": _sleep, "early_stop": _stopped_early, "best_used": _best_used, "fit_measured": _measured,
    "changed": lambda event, at: tr("changed at step {step}: {values}", step=at, values=change_text(event)),
    "adjusted": lambda event, at: adjusted_text(event),
    "job_ended": lambda event, at: state_text(str(event.get("state"))),
    jobs.MEMORY_KILL: lambda event, at: tr("The system ended the worker because memory ran out"),
}
