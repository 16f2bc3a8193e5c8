"""A run's states, phases and events in words."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from slmstudio.core import units
from slmstudio.core.files import an_object, number
from slmstudio.core.i18n import date_text, ntr, number_text, tr
from slmstudio.core.run import config as run_config
from slmstudio.core.run import config_file
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.history import RunHistory
from slmstudio.gui.common.plan_fields import label, variant_label, write

MOST_PARTS = 3
"""Parts of a path by which one is told from another."""


def steps_text(count: int) -> str:
    return ntr("{n:,} step", "{n:,} steps", count)


def when(moment: float) -> str:
    """A point in time as people say it: "today 15:31", "yesterday 09:12", or the date."""
    day, hour = datetime.fromtimestamp(moment), time.strftime("%H:%M", time.localtime(moment))
    days = (datetime.now().date() - day.date()).days
    if days == 0:
        return tr("today {time}", time=hour)
    if days == 1:
        return tr("yesterday {time}", time=hour)
    return tr("{date}, {time}", date=date_text(day), time=hour)


def promise(config: RunConfig, rows: int, steps: int) -> str:
    """What pressing Start will do, in a sentence."""
    much = {"rows": ntr("{n:,} row", "{n:,} rows", rows), "steps": steps_text(steps)}
    if config.method == "scratch":
        what = tr("{rows}, {steps}: trains a new model of about {size} parameters.", size=config.scratch_size, **much)
    elif config.has_adapter:
        what = tr("{rows}, {steps}: trains an adapter of rank {rank}.", rank=config.lora_rank, **much)
    else:
        what = tr("{rows}, {steps}: trains every weight.", **much)
    return f"{what}\n{tr('Press Start training. It keeps running when you close the window.')}"


def method_text(config: RunConfig) -> str:
    """As in "LoRA, rank 16, alpha 32"."""
    if not config.has_adapter:
        return variant_label(config)
    return tr("{method}, rank {rank}, alpha {alpha}", method=variant_label(config), rank=config.lora_rank,
              alpha=config.lora_alpha)


def outcome_chip(state: str) -> tuple[str, str]:
    """Text and kind of the chip for a run's state."""
    return {
        "new": (tr("not started"), "plain"), "running": (tr("running"), "accent"), "paused": (tr("paused"), "warn"),
        "resting": (tr("resting"), "warn"),
        "finished": (tr("finished"), "ok"), "stopped": (tr("stopped, kept"), "ok"),
        "cancelled": (tr("cancelled"), "plain"),
        "failed": (tr("failed"), "bad"), "crashed": (tr("crashed"), "bad"),
    }.get(state, (state, "plain"))


def phase_text(phase: str) -> str:
    """A phase of the worker as a user reads it; an unknown one as it is."""
    return {
        "": tr("Starting"), "starting": tr("Starting the worker"), "reading data": tr("Reading the rows"),
        "tokenizing": tr("Tokenizing"), "loading model": tr("Loading the base model"), "training": tr("Training"),
        "evaluating": tr("Evaluating"), "sampling": tr("Asking the fixed questions"),
        "saving": tr("Saving the result"), "converting": tr("Converting"),
        "measuring": tr("Measuring"), "waiting": tr("Waiting for its turn"),
        "reading": tr("Reading the file"), "weights": tr("Unpacking the weights"),
        "tokenizer": tr("Rebuilding the tokenizer"), "writing": tr("Writing the model"),
        "looking up the model": tr("Looking up the model"), "downloading": tr("Downloading"),
        "fetching": tr("Downloading"), "joining": tr("Joining the parts"), "merging": tr("Merging"),
        "weighing": tr("Measuring"), "checking": tr("Checking"),
        "waiting for machines": tr("Waiting for other machines"),
        "checking the processes": tr("Checking that all processes match"),
        "resting": tr("Resting until the machine has cooled"),
    }.get(phase, phase[:1].upper() + phase[1:].replace("_", " "))


def work_text(history: RunHistory, detail: str = "") -> str:
    """What a job other than a training does now."""
    if history.guard.stands_still:
        return phase_text("resting")
    return " · ".join(filter(None, (phase_text(history.phase), detail)))


def rest_text(why: str) -> str:
    """Why a run rests, in a word or two."""
    return {"heat": tr("heat"), "memory_heat": tr("heat of the memory"), "battery": tr("battery"),
            "hours": tr("time of day"), "hold": tr("holding the temperature")}.get(why, why)


def checkpoint_reason(reason: str) -> str:
    return {"interval": "", "requested": tr("you asked for it"), "stop": tr("before stopping"),
            "free": tr("before its memory is freed"), "rest": tr("before a rest"), "best": tr("the best so far"),
            "end": tr("at the end")}.get(reason, reason)


def event_text(event: dict[str, Any]) -> str:
    """One of `RunHistory.told` as a line; "" for what needs none."""
    kind, step = str(event.get("type")), event.get("global_step")
    at = number_text(step) if isinstance(step, int) else "?"
    return _WORDS[kind](event, at) if kind in _WORDS else ""


def is_alarming(event: dict[str, Any]) -> bool:
    """Whether one of `RunHistory.told` wants to be noticed."""
    return event.get("type") in ("warning", "adjusted", "overfitting", "guard_unavailable") or (
        event.get("type") == "sleep_prevented" and event.get("on") is False)


def fields_text(event: dict[str, Any], key: str) -> str:
    """The values that an event names: "Micro-batch, rows 8 → 4"."""
    given, before = an_object(event.get(key)), an_object(event.get("was"))
    parts = []
    order = list(run_config.FIELDS)
    for name, value in sorted(given.items(), key=lambda item: order.index(item[0]) if item[0] in order else len(order)):
        after = tr("on") if value is True else tr("off") if value is False else write(value)
        old = before.get(name)
        parts.append(f"{label(name)} {write(old)} → {after}" if old is not None and not isinstance(old, bool)
                     else f"{label(name)} {after}")
    return ", ".join(parts)


def adjusted_text(event: dict[str, Any]) -> str:
    """What the worker lowered, and why."""
    changes = fields_text(event, "changes")
    if event.get("reason") == "out_of_memory":
        return tr("memory ran out, so the run continues with {changes}", changes=changes)
    return tr("the run continues with {changes}", changes=changes)


def _eval(event: dict[str, Any], at: str) -> str:
    loss = event.get("eval_loss")
    if loss is None:
        return tr("eval loss at step {step} isn't a number", step=at)
    if event.get("best"):
        return tr("best eval loss {loss:.3f}, step {step}", loss=loss, step=at)
    return tr("eval loss {loss:.3f}, step {step}", loss=loss, step=at)


def _saved(event: dict[str, Any], at: str) -> str:
    reason = checkpoint_reason(str(event.get("reason") or ""))
    if not reason:
        return tr("checkpoint saved, step {step}", step=at)
    return tr("checkpoint saved, step {step}: {reason}", step=at, reason=reason)


def _planned(event: dict[str, Any], at: str) -> str:
    return ntr("{learned} of {all} parameters are trained, {n:,} row",
               "{learned} of {all} parameters are trained, {n:,} rows", event.get("train_rows") or 0,
               learned=units.format_count(event.get("trainable_parameters") or 0),
               all=units.format_count(event.get("parameters") or 0))


def change_text(event: dict[str, Any]) -> str:
    """What a `changed` event made different: "learning rate 1e-4, 500 steps"."""
    asked = event.get("asked")
    rate, total = event.get("learning_rate"), event.get("total_steps")
    parts = [tr("learning rate {rate}", rate=write(float(rate)))] if _asked(asked, "learning_rate") and \
        isinstance(rate, int | float) else []
    if isinstance(total, int) and (_asked(asked, "max_steps") or _asked(asked, "epochs")):
        parts.append(steps_text(total))
    return ", ".join(parts)


def _asked(asked: Any, name: str) -> bool:
    return not isinstance(asked, dict) or name in asked


def _overfitting(event: dict[str, Any], at: str) -> str:
    return tr("eval loss was lowest at step {step} and has risen since: overfitting begins", step=at)


def _suspended(event: dict[str, Any], at: str) -> str:
    seconds = event.get("seconds")
    time = units.format_duration(seconds if isinstance(seconds, int | float) else 0.0)
    return tr("the machine slept for {time}; this isn't counted as work", time=time)


def _message(event: dict[str, Any], at: str) -> str:
    return str(event.get("message") or "")


def _sleep(event: dict[str, Any], at: str) -> str:
    if event.get("on") is not False:
        return ""
    reason = str(event.get("reason") or "")
    if not reason:
        return tr("the machine may go to sleep during training")
    return tr("the machine may go to sleep during training: {reason}", reason=reason)


def _stopped_early(event: dict[str, Any], at: str) -> str:
    best = event.get("best_step")
    return tr("ended early at step {step}: eval loss didn't improve after step {best}", step=at,
              best=number_text(best) if isinstance(best, int) else "?")


def _measured(event: dict[str, Any], at: str) -> str:
    peak, step, low, high = (number(event, name) for name in ("peak_bytes", "seconds_per_step", "low", "high"))
    if peak is None or step is None or low is None or high is None:
        return ""
    return tr("the longest rows take {peak} (estimated: {span}), and a step takes {time}",
              peak=units.format_bytes(peak), span=units.format_span(low, high), time=units.format_duration(step))


def _best_used(event: dict[str, Any], at: str) -> str:
    loss = event.get("eval_loss")
    if not isinstance(loss, int | float):
        return tr("the result contains the weights of step {step}", step=at)
    return tr("the result contains the weights of step {step}, eval loss {loss:.3f}", step=at, loss=loss)


_WORDS: dict[str, Callable[[dict[str, Any], str], str]] = {
    "job_started": lambda event, at: tr("worker started"),
    "paused": lambda event, at: tr("paused at step {step}", step=at),
    "resumed": lambda event, at: tr("continues at step {step}", step=at),
    "resumed_from": lambda event, at: tr("continues from the checkpoint of step {step}", step=at),
    "eval": _eval, "checkpoint_saved": _saved, "plan": _planned, "overfitting": _overfitting,
    **dict.fromkeys(("guard_rest", "guard_resume", "guard_changed", "guard_unavailable", "power_limit_advised"),
                    _message),
    "suspended": _suspended, "sleep_prevented": _sleep, "early_stop": _stopped_early, "best_used": _best_used,
    "fit_measured": _measured,
    "changed": lambda event, at: tr("changed at step {step}: {values}", step=at, values=change_text(event)),
    "adjusted": lambda event, at: adjusted_text(event),
    "warning": lambda event, at: str(event.get("message") or event.get("code") or ""),
    "job_ended": lambda event, at: outcome_chip(str(event.get("state")))[0],
}


def differences(first: dict[str, Any], second: dict[str, Any]) -> str:
    """In which fields two configurations differ: "Rank 16 / 4, Alpha 32 / 8"."""
    return ", ".join(f"{label(key)} {_short(one)} / {_short(other)}"
                     for key, (one, other) in config_file.differences([first, second]) if key in first.keys() & second)


def _short(value: Any) -> str:
    """A value that is shown beside another one: long lists are counted, of a path the end is told.

    >>> _short("/home/asha/data/help/train.jsonl"), _short(["q", "k", "v", "o"]), _short(0.5)
    ('…/help/train.jsonl', '4 entries', '0.5')
    """
    if value is None:
        return "—"
    if isinstance(value, str) and Path(value).is_absolute() and len(Path(value).parts) > MOST_PARTS:
        return "/".join(("…", *Path(value).parts[-2:]))
    return ntr("{n:,} entry", "{n:,} entries", len(value)) if isinstance(value, list) and len(value) > 3 else str(value)


def starting_text() -> str:
    """Why the language can't be changed while something begins."""
    return tr("Something is just starting. Choose the language again in a moment.")


def editing_text() -> str:
    """Why the language can't be changed while a user writes."""
    return tr("Save or discard what you are editing first.")
