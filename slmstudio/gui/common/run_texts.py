"""A run's fields, states, phases and events in words."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from slmstudio.core.i18n import date_text, ntr, tr
from slmstudio.core.run import config as run_config
from slmstudio.core.run.config import FIELDS, RunConfig
from slmstudio.core.run.history import RunHistory
from slmstudio.core.run.run_fields import METHODS, VARIANTS, Choice


def steps_text(count: int) -> str:
    return ntr("{n:,} step", "{n:,} steps", count)


def early_stop_text(result: Mapping[str, Any], steps: int, total: int) -> str:
    """Why a run ended well before its last step, by its result; "" for any other."""
    return tr("Stopped early at step {step:,} of {total:,}: eval loss no longer fell.", step=steps,
              total=total) if result.get("stopped_early") else ""


def when(moment: float) -> str:
    """A point in time as people say it: "today 15:31", "yesterday 09:12", or the date."""
    day, hour = datetime.fromtimestamp(moment), time.strftime("%H:%M", time.localtime(moment))
    days = (datetime.now().date() - day.date()).days
    if days == 0:
        return tr("today {time}", time=hour)
    if days == 1:
        return tr("yesterday {time}", time=hour)
    return tr("{date}, {time}", date=date_text(day), time=hour)


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


def starting_text() -> str:
    """Why the language can't be changed while something begins."""
    return tr("Something is just starting. Choose the language again in a moment.")


def editing_text() -> str:
    """Why the language can't be changed while a user writes."""
    return tr("Save or discard what you are editing first.")


# -- The plan's fields in the window: their names and choices, translated, and how a value is written.

FIXED = ("model", "train_file", "eval_file")
"""Decided in the tabs before; the plan only shows them."""
PAIRS = {"method": "lora_rank", "micro_batch_size": "gradient_accumulation_steps"}
"""Fields that share a line with the one that follows them."""
MEANINGS = {
    "model": ("base_model",), "method": ("lora", "qlora"), "chat_template": ("chat_template",), "lora_rank": ("rank",),
    "lora_alpha": ("alpha",), "epochs": ("epoch", "overfitting"), "max_steps": ("step",),
    "max_length": ("sequence_length",), "micro_batch_size": ("effective_batch_size",),
    "learning_rate": ("learning_rate",), "save_steps": ("checkpoint",), "objective": ("sft", "dpo"),
    "precision": ("bf16",), "seed": ("seed",)}
"""Words of the glossary that explain a field."""
VARIANT_FLAGS = ("use_dora", "use_rslora")


def label(name: str) -> str:
    """A field's name for people."""
    return run_config.label(name)


def choice_label(name: str, value: str) -> str:
    """One of a field's words for people; the word itself where it isn't known."""
    if name == "method" and value in VARIANTS and value not in METHODS.words:
        return label(VARIANT_FLAGS[("dora", "rslora").index(value)])
    kind = FIELDS[name].kind
    return kind.said(value) if isinstance(kind, Choice) and value in kind.words else value


def variant(config: RunConfig) -> str:
    """Which of VARIANTS a configuration is; "" for a combination that has no name of its own."""
    fields = {name: getattr(config, name) for name in ("method", *VARIANT_FLAGS)}
    return next((key for key, values in VARIANTS.items()
                 if fields == {"method": "", **dict.fromkeys(VARIANT_FLAGS, False), **values}), "")


def variant_label(config: RunConfig) -> str:
    """The method in words: "DoRA", "QLoRA (4-bit) + DoRA"."""
    key = variant(config)
    if key:
        return choice_label("method", key)
    extras = [label(name) for name in VARIANT_FLAGS if getattr(config, name)]
    return " + ".join([choice_label("method", config.method), *extras])
