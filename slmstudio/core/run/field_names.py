"""The fields of a run as the report and the terminal name them, and in which fields runs differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

GROUPS = {
    "Run": ("name", "model", "start_from", "train_file", "eval_file", "eval_fraction", "split_seed"),
    "Method": ("objective", "method", "lora_rank", "lora_alpha", "lora_dropout", "target_modules", "use_dora",
               "use_rslora", "scratch_size", "beta"),
    "Length": ("epochs", "max_steps", "early_stopping_patience", "use_best_checkpoint"),
    "Batch": ("max_length", "micro_batch_size", "gradient_accumulation_steps", "group_by_length", "packing",
              "completion_only_loss"),
    "Learning": ("learning_rate", "lr_scheduler", "warmup_fraction", "optimizer", "weight_decay", "max_grad_norm",
                 "neftune_noise_alpha"),
    "Machine": ("device", "precision", "attention", "gradient_checkpointing", "use_liger_kernel", "torch_compile",
                "threads"),
    "Watching": ("sample_prompts", "sample_max_tokens", "eval_steps", "tensorboard"),
    "Saving": ("save_steps", "keep_checkpoints", "seed"),
}
"""All fields, in the order in which one decides them."""
LABELS = {
    "name": "Name", "model": "Base model", "start_from": "Goes on from", "train_file": "Training rows",
    "eval_file": "Held-out rows", "eval_fraction": "Share of rows held out", "split_seed": "Seed of that split",
    "objective": "Objective", "method": "Method", "lora_rank": "Rank", "lora_alpha": "Alpha",
    "lora_dropout": "Dropout", "target_modules": "Target modules", "use_dora": "DoRA",
    "use_rslora": "Rank-stabilised LoRA", "scratch_size": "Size from scratch", "beta": "Beta", "epochs": "Epochs",
    "max_steps": "Steps at most", "early_stopping_patience": "Stop early after, evaluations",
    "use_best_checkpoint": "Keep the best weights", "max_length": "Sequence length, tokens",
    "micro_batch_size": "Micro-batch, rows", "gradient_accumulation_steps": "Gradient accumulation, micro-batches",
    "group_by_length": "Group rows by length", "packing": "Packing", "completion_only_loss": "Learn answers only",
    "learning_rate": "Learning rate", "lr_scheduler": "Scheduler", "warmup_fraction": "Warm-up, share of steps",
    "optimizer": "Optimizer", "weight_decay": "Weight decay", "max_grad_norm": "Clip gradients at norm",
    "neftune_noise_alpha": "NEFTune noise alpha", "device": "Device", "precision": "Precision",
    "attention": "Attention", "gradient_checkpointing": "Recompute activations",
    "use_liger_kernel": "Liger kernels", "torch_compile": "Compile the model", "threads": "Processor threads",
    "sample_prompts": "Questions asked while learning", "sample_max_tokens": "Their answers, tokens at most",
    "eval_steps": "Evaluate every, steps", "tensorboard": "TensorBoard files",
    "save_steps": "Checkpoint every, steps", "keep_checkpoints": "Checkpoints kept", "seed": "Seed",
}
METHODS = {
    "lora": "LoRA: an adapter learned, the base model stayed as it was",
    "qlora": "QLoRA: an adapter learned on the base model in 4 bits, which stayed as it was",
    "full": "full fine-tuning: every weight learned",
    "scratch": "training from scratch: a new model began with random weights",
}
OBJECTIVES = {
    "sft": "to answer as its rows do", "text": "to go on with text as its rows do",
    "dpo": "to prefer the better of two answers (DPO)", "orpo": "to prefer the better of two answers (ORPO)",
    "kto": "to prefer answers that were marked good (KTO)",
}
UNTOLD = frozenset({"name", "reasons", "threads"})
"""Fields whose difference says nothing about what was learned."""


def differences(configs: Sequence[dict[str, Any]]) -> list[tuple[str, list[Any]]]:
    """The fields in which configurations differ, each with its value in all of them.

    A field that only some of them have (one was written by another version) is None in the others.
    """
    names = dict.fromkeys(name for names in GROUPS.values() for name in names)
    names |= dict.fromkeys(name for config in configs for name in config)
    found = []
    for name in names:
        values = [config.get(name) for config in configs]
        if name not in UNTOLD and any(value != values[0] for value in values):
            found.append((name, values))
    return found
