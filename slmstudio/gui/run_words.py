"""A run's states, phases and events in words."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

from PySide6.QtCore import QCoreApplication

from slmstudio.core import words
from slmstudio.core.run.config import RunConfig
from slmstudio.gui.plan_fields import choice_label, label


def tr(text: str) -> str:
    return QCoreApplication.translate("RunWords", text)


def steps_text(count: int) -> str:
    return tr("1 step") if count == 1 else tr("{count} steps").format(count=f"{count:,}")


def when(moment: float) -> str:
    """A point in time as people say it: "today 15:31", "yesterday 09:12", or the date."""
    day, hour = datetime.fromtimestamp(moment), time.strftime("%H:%M", time.localtime(moment))
    days = (datetime.now().date() - day.date()).days
    if days == 0:
        return tr("today {time}").format(time=hour)
    return tr("yesterday {time}").format(time=hour) if days == 1 else f"{day:%Y-%m-%d} {hour}"


def method_text(config: RunConfig) -> str:
    """As in "LoRA, rank 16, alpha 32"."""
    if config.method != "lora":
        return choice_label(config.method)
    return tr("LoRA, rank {rank}, alpha {alpha}").format(rank=config.lora_rank, alpha=config.lora_alpha)


def outcome_chip(state: str) -> tuple[str, str]:
    """Text and kind of the chip for a run's state."""
    return {
        "new": (tr("not started"), "plain"), "running": (tr("running"), "accent"), "paused": (tr("paused"), "warn"),
        "finished": (tr("finished"), "ok"), "stopped": (tr("stopped, kept"), "ok"),
        "cancelled": (tr("cancelled"), "plain"),
        "failed": (tr("failed"), "bad"), "crashed": (tr("crashed"), "bad"),
    }.get(state, (state, "plain"))


def phase_text(phase: str) -> str:
    """A phase of the worker as a person reads it; an unknown one as it is."""
    return {
        "": tr("Starting"), "starting": tr("Starting the worker"), "reading data": tr("Reading the rows"),
        "tokenizing": tr("Tokenizing"), "loading model": tr("Loading the base model"), "training": tr("Training"),
        "evaluating": tr("Evaluating"), "saving": tr("Saving the result"), "converting": tr("Converting"),
        "quantizing": tr("Quantizing"), "checking": tr("Checking"),
    }.get(phase, phase[:1].upper() + phase[1:].replace("_", " "))


def checkpoint_reason(reason: str) -> str:
    return {"interval": "", "requested": tr("you asked for it"), "stop": tr("before stopping"),
            "end": tr("at the end")}.get(reason, reason)


def event_text(event: dict[str, Any]) -> str:
    """One of `RunHistory.told` as a line; "" for what needs none."""
    kind, step = event.get("type"), event.get("global_step")
    at = f"{step:,}" if isinstance(step, int) else "?"
    if kind == "eval":
        loss = event.get("eval_loss")
        if loss is None:
            return tr("eval loss at step {step} is no number").format(step=at)
        text = tr("best eval loss {loss}, step {step}") if event.get("best") else tr("eval loss {loss}, step {step}")
        return text.format(loss=f"{loss:.3f}", step=at)
    if kind == "checkpoint_saved":
        reason = checkpoint_reason(str(event.get("reason") or ""))
        return tr("checkpoint saved, step {step}").format(step=at) + (f": {reason}" if reason else "")
    if kind == "plan":
        return tr("{learned} of {all} parameters learn, {rows} rows").format(
            learned=words.format_count(event.get("trainable_parameters") or 0),
            all=words.format_count(event.get("parameters") or 0), rows=f"{event.get('train_rows') or 0:,}")
    if kind == "warning":
        return str(event.get("message") or event.get("code") or "")
    if kind == "job_ended":
        return outcome_chip(str(event.get("state")))[0]
    return {"job_started": tr("worker started"), "paused": tr("paused at step {step}"),
            "resumed": tr("goes on at step {step}"), "resumed_from": tr("goes on from the checkpoint of step {step}"),
            }.get(str(kind), "").format(step=at)


def differences(first: dict[str, Any], second: dict[str, Any]) -> str:
    """In which fields two configurations differ: "Rank 16 / 4, Alpha 32 / 8"."""
    left_out = {"name", "reasons", "threads"}
    return ", ".join(f"{label(key)} {first[key]} / {second[key]}" for key in first
                     if key in second and key not in left_out and first[key] != second[key])
