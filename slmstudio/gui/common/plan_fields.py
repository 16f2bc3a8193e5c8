"""The plan's fields: their names for people, their order, which of them apply, and how a value is written."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QCoreApplication

from slmstudio.core.run import limits
from slmstudio.core.run.config import RunConfig

CHOICES = limits.CHOICES
FIXED = ("model", "train_file", "eval_file")
"""Decided in the tabs before; the plan only shows them."""
SIMPLE = ("name", "objective", "method", "lora_rank", "scratch_size", "epochs", "max_length", "micro_batch_size",
          "gradient_accumulation_steps", "learning_rate", "precision")
PAIRS = {"method": "lora_rank", "micro_batch_size": "gradient_accumulation_steps"}
"""Fields that share a line with the one that follows them."""
VARIANTS = {
    "lora": {"method": "lora"},
    "qlora": {"method": "qlora"},
    "dora": {"method": "lora", "use_dora": True},
    "rslora": {"method": "lora", "use_rslora": True},
    "full": {"method": "full"},
    "scratch": {"method": "scratch"},
}
"""What the one choice of a method stands for in the run's fields."""
VARIANT_FLAGS = ("use_dora", "use_rslora")


def tr(text: str) -> str:
    return QCoreApplication.translate("PlanFields", text)


def groups() -> dict[str, tuple[str, ...]]:
    """All fields of a run in the order in which one decides them, under headings."""
    return {
        tr("Run"): ("name", "model", "start_from", "train_file", "eval_file", "eval_fraction", "split_seed"),
        tr("Method"): ("objective", "method", "lora_rank", "scratch_size", "lora_alpha", "lora_dropout",
                       "target_modules", "use_dora", "use_rslora", "beta"),
        tr("Length"): ("epochs", "max_steps", "early_stopping_patience", "use_best_checkpoint"),
        tr("Batch"): ("max_length", "micro_batch_size", "gradient_accumulation_steps", "group_by_length", "packing",
                      "completion_only_loss"),
        tr("Learning"): ("learning_rate", "lr_scheduler", "warmup_fraction", "optimizer", "weight_decay",
                         "max_grad_norm", "neftune_noise_alpha"),
        tr("Machine"): ("device", "precision", "attention", "gradient_checkpointing", "use_liger_kernel",
                        "torch_compile", "threads"),
        tr("Watching"): ("sample_prompts", "sample_max_tokens", "eval_steps", "tensorboard"),
        tr("Saving"): ("save_steps", "keep_checkpoints", "seed"),
    }


def label(name: str) -> str:
    """A field's name for people, in the field's own words."""
    return {
        "name": tr("Name"), "model": tr("Base model"), "train_file": tr("Training rows"), "eval_file": tr("Eval rows"),
        "eval_fraction": tr("Share split off for eval"), "split_seed": tr("Seed of the split"),
        "start_from": tr("Go on from, folder of a run"), "objective": tr("Objective"), "method": tr("Method"),
        "scratch_size": tr("Size from scratch"), "beta": tr("Beta"),
        "lora_rank": tr("Rank"), "lora_alpha": tr("Alpha"), "lora_dropout": tr("Dropout"),
        "target_modules": tr("Target modules"), "use_dora": tr("DoRA"), "use_rslora": tr("Rank-stabilised LoRA"),
        "epochs": tr("Length of run, epochs"), "max_steps": tr("Steps at most"),
        "early_stopping_patience": tr("Stop early after, evaluations"),
        "use_best_checkpoint": tr("Keep the best weights"),
        "max_length": tr("Sequence length, tokens"), "micro_batch_size": tr("Micro-batch, rows"),
        "gradient_accumulation_steps": tr("× accumulated"), "group_by_length": tr("Group rows by length"),
        "packing": tr("Packing"), "completion_only_loss": tr("Completion-only loss"),
        "learning_rate": tr("Learning rate"), "lr_scheduler": tr("Scheduler"),
        "warmup_fraction": tr("Warm-up, share of steps"),
        "optimizer": tr("Optimizer"), "weight_decay": tr("Weight decay"),
        "max_grad_norm": tr("Clip gradients at norm"), "neftune_noise_alpha": tr("NEFTune noise alpha"),
        "device": tr("Device"), "precision": tr("Precision"), "attention": tr("Attention"),
        "gradient_checkpointing": tr("Recompute activations"), "use_liger_kernel": tr("Liger kernels"),
        "torch_compile": tr("Compile the model"), "threads": tr("Processor threads"),
        "sample_prompts": tr("Questions to watch, one a line"), "sample_max_tokens": tr("Answers, tokens at most"),
        "tensorboard": tr("TensorBoard files"),
        "eval_steps": tr("Evaluate every, steps"), "save_steps": tr("Checkpoint every, steps"),
        "keep_checkpoints": tr("Checkpoints kept"), "seed": tr("Seed"),
    }.get(name, name)


def choice_label(value: str) -> str:
    return {"lora": tr("LoRA"), "qlora": tr("QLoRA (4-bit)"), "dora": tr("DoRA"), "rslora": tr("Rank-stabilised LoRA"),
            "full": tr("Full fine-tuning"), "scratch": tr("From scratch"),
            "sft": tr("Answers (SFT)"), "text": tr("Plain text"), "dpo": tr("Preferences (DPO)"),
            "orpo": tr("Preferences (ORPO)"), "kto": tr("Good and bad (KTO)"),
            "auto": tr("auto: the GPU if there is one"),
            "cpu": tr("processor"), "cuda": tr("NVIDIA GPU"), "sdpa": tr("SDPA"), "fp32": "fp32", "bf16": "bf16",
            "fp16": "fp16", "constant_with_warmup": tr("constant, with warm-up")}.get(value, value)


def variant(config: RunConfig) -> str:
    """Which of VARIANTS a configuration is; "" for a combination that has no name of its own."""
    fields = {name: getattr(config, name) for name in ("method", *VARIANT_FLAGS)}
    return next((key for key, values in VARIANTS.items()
                 if fields == {"method": "", **dict.fromkeys(VARIANT_FLAGS, False), **values}), "")


def variant_label(config: RunConfig) -> str:
    """The method in words: "DoRA", "QLoRA (4-bit) + DoRA"."""
    key = variant(config)
    if key:
        return choice_label(key)
    extras = [choice_label(name.removeprefix("use_")) for name in VARIANT_FLAGS if getattr(config, name)]
    return " + ".join([choice_label(config.method), *extras])


def applies(name: str, config: RunConfig) -> bool:
    """Whether a field means anything in a run of this method and objective."""
    if name.startswith("lora_") or name in ("target_modules", *VARIANT_FLAGS):
        return config.has_adapter
    if name in ("completion_only_loss", "neftune_noise_alpha"):
        return config.objective == "sft"
    return {"scratch_size": config.method == "scratch", "start_from": config.method != "scratch",
            "beta": config.is_preference, "packing": not config.is_preference}.get(name, True)


def write(value: Any) -> str:
    """A value as it is typed.

    >>> write(2e-4), write(3.0), write(0.05), write(None), write(["q_proj", "v_proj"])
    ('2e-4', '3', '0.05', '', 'q_proj, v_proj')
    """
    if value is None:
        return ""
    if isinstance(value, float):
        if value and abs(value) < 1e-3:
            mantissa, _, exponent = f"{value:.6e}".partition("e")
            return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
        return f"{value:g}"
    return ", ".join(value) if isinstance(value, list) else str(value)
