"""The plan's fields in the window: their names and choices, translated, and how a value is written."""

from __future__ import annotations

from slmstudio.core.run import config as run_config
from slmstudio.core.run.config import FIELDS, RunConfig
from slmstudio.core.run.run_fields import METHODS, VARIANTS, Choice

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
