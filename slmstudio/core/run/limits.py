"""What the fields of a run may hold: all that is wrong with a configuration at once, without touching a file."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from slmstudio.core.errors import Problem

if TYPE_CHECKING:
    from slmstudio.core.run.config import RunConfig

OBJECTIVES = ("sft", "text", "dpo", "orpo", "kto")
PREFERENCES = ("dpo", "orpo", "kto")
"""Objectives that learn which of several answers is better."""
METHODS = ("lora", "qlora", "full", "scratch")
PRECISIONS = ("fp32", "bf16", "fp16")
SCHEDULERS = ("linear", "cosine", "constant", "constant_with_warmup")
OPTIMIZERS = ("adamw_torch", "adamw_torch_fused", "adamw_8bit", "paged_adamw_8bit", "paged_adamw_32bit", "adafactor",
              "sgd")
CUDA_OPTIMIZERS = ("paged_adamw_8bit", "paged_adamw_32bit")
"""Their pages move between GPU and main memory, so they need both."""
DEVICES = ("auto", "cpu", "cuda")
ATTENTION = ("sdpa", "eager", "flash_attention_2")
SCRATCH_SIZES = ("10M", "20M", "30M", "60M", "100M", "150M")
CHOICES = {
    "objective": OBJECTIVES, "method": METHODS, "precision": PRECISIONS, "lr_scheduler": SCHEDULERS,
    "optimizer": OPTIMIZERS, "device": DEVICES, "attention": ATTENTION, "scratch_size": SCRATCH_SIZES,
}
"""Fields that hold one of a few words."""
WHOLE = {
    "max_length": (8, 1_048_576), "micro_batch_size": (1, 4096), "gradient_accumulation_steps": (1, 4096),
    "lora_rank": (1, 4096), "lora_alpha": (1, 65536), "eval_steps": (1, 10**9), "save_steps": (1, 10**9),
    "keep_checkpoints": (2, 10**6), "early_stopping_patience": (0, 10_000), "sample_max_tokens": (0, 4096),
    "threads": (0, 1024), "seed": (0, 2**32 - 1), "split_seed": (0, 2**32 - 1),
}
"""Least and greatest value of the whole numbers."""


def problems(config: RunConfig) -> list[Problem]:
    """Everything that is wrong with the values, each by itself and with one another. Empty when all is well."""
    found: list[Problem] = []

    def need(name: str, ok: bool, limit: str) -> None:
        if not ok:
            found.append(Problem(f"{getattr(config, name)!r} is not allowed; it must be {limit}.", field=name))

    for name in ("name", "model", "train_file"):
        need(name, bool(str(getattr(config, name)).strip()), "filled in")
    for name, allowed in CHOICES.items():
        need(name, getattr(config, name) in allowed, "one of " + ", ".join(allowed))
    for name, (low, high) in WHOLE.items():
        need(name, low <= getattr(config, name) <= high, f"from {low:,} to {high:,}")
    need("max_steps", config.max_steps is None or config.max_steps >= 1, "at least 1, or empty")
    need("epochs", 0 < config.epochs <= 10_000, "above 0 and at most 10,000")
    need("learning_rate", 0 < config.learning_rate <= 1, "above 0 and at most 1")
    need("eval_fraction", 0 <= config.eval_fraction <= 0.5, "from 0 to 0.5")
    need("warmup_fraction", 0 <= config.warmup_fraction < 1, "from 0 to below 1")
    need("weight_decay", 0 <= config.weight_decay <= 1, "from 0 to 1")
    need("max_grad_norm", 0 < config.max_grad_norm < math.inf, "above 0")
    need("lora_dropout", 0 <= config.lora_dropout < 1, "from 0 to below 1")
    need("beta", 0 < config.beta <= 10, "above 0 and at most 10")
    need("neftune_noise_alpha", 0 <= config.neftune_noise_alpha <= 100, "from 0 to 100")
    return found + _contradictions(config)


def _contradictions(config: RunConfig) -> list[Problem]:
    """Values that are well by themselves and do not go together."""
    rules = (
        (not config.has_adapter and config.use_dora, "use_dora", "DoRA is a kind of adapter; set method to lora or "
                                                                 "qlora, or switch it off."),
        (not config.has_adapter and config.use_rslora, "use_rslora", "rank-stabilised LoRA is a kind of adapter; set "
                                                                     "method to lora or qlora, or switch it off."),
        (config.method == "scratch" and config.start_from is not None, "start_from",
         "a model from scratch begins with nothing; leave it empty."),
        (config.method == "scratch" and config.objective in PREFERENCES, "objective",
         "a model from scratch has nothing to prefer yet; it must be text or sft."),
        (config.device == "cpu" and config.optimizer in CUDA_OPTIMIZERS, "optimizer",
         f"{config.optimizer!r} needs an NVIDIA GPU; on the processor adamw_torch or adamw_8bit is right."),
        (config.device == "cpu" and config.attention == "flash_attention_2", "attention",
         "'flash_attention_2' needs an NVIDIA GPU; on the processor it must be sdpa or eager."),
        (config.device == "cpu" and config.use_liger_kernel, "use_liger_kernel",
         "Liger's kernels need an NVIDIA GPU; switch it off."),
        (config.device == "cpu" and config.precision == "fp16", "precision",
         "'fp16' needs an NVIDIA GPU; on the processor it must be bf16 or fp32."),
        (config.packing and config.attention == "eager", "attention",
         "'eager' cannot keep packed rows apart; it must be sdpa or flash_attention_2, or switch packing off."),
        (config.packing and config.objective in PREFERENCES, "packing",
         "pairs of answers are compared side by side and cannot be packed; switch it off."),
    )
    return [Problem(sentence, field=name) for broken, name, sentence in rules if broken]
