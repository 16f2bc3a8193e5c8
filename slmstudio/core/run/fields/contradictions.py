"""Which values of a run exclude each other."""

from __future__ import annotations

from typing import Any

from slmstudio.core.errors import Problem
from slmstudio.core.i18n import tr
from slmstudio.core.run.fields.choices import CUDA_OPTIMIZERS, PREFERENCES, SHARED_OPTIMIZERS


def contradictions(config: Any) -> list[Problem]:
    """Values that are well by themselves and don't go together."""
    shared = config.world_size > 1 and config.parallelism == "fsdp"
    rules = (
        (not config.has_adapter and config.use_dora, "use_dora",
         tr("DoRA is a kind of adapter; set method to lora or qlora, or switch it off.")),
        (not config.has_adapter and config.use_rslora, "use_rslora",
         tr("Rank-stabilised LoRA is a kind of adapter; set method to lora or qlora, or switch it off.")),
        (config.method == "scratch" and config.start_from is not None, "start_from",
         tr("A model from scratch starts from nothing; leave this empty.")),
        (config.method == "scratch" and config.objective in PREFERENCES, "objective",
         tr("A model from scratch has nothing to prefer yet; the objective must be text or sft.")),
        (config.device == "cpu" and config.optimizer in CUDA_OPTIMIZERS, "optimizer",
         tr("{optimizer} needs an NVIDIA GPU; on the processor, choose adamw_torch or adamw_8bit.",
            optimizer=config.optimizer)),
        (config.device == "cpu" and config.attention == "flash_attention_2", "attention",
         tr("flash_attention_2 needs an NVIDIA GPU; on the processor, choose sdpa or eager.")),
        (config.device == "cpu" and config.use_liger_kernel, "use_liger_kernel",
         tr("Liger's kernels need an NVIDIA GPU; switch it off.")),
        (config.device == "cpu" and config.activation_offload, "activation_offload",
         tr("On the processor, activations are in main memory anyway; switch it off.")),
        (config.device == "cpu" and config.precision == "fp16", "precision",
         tr("fp16 needs an NVIDIA GPU; on the processor, choose bf16 or fp32.")),
        (shared and config.method == "qlora", "parallelism",
         tr("A base in 4 bits can't be shared among cards: each would hold all of it. Choose lora, or ddp.")),
        (shared and config.objective in PREFERENCES, "parallelism",
         tr("Cards can share a model that learns text or chats; for preferences, choose ddp.")),
        (shared and config.optimizer not in SHARED_OPTIMIZERS, "optimizer",
         tr("{optimizer} can't be shared among cards; choose adamw_torch, or ddp.", optimizer=config.optimizer)),
        (config.packing and config.attention == "eager", "attention",
         tr("Eager attention can't keep packed rows apart; choose sdpa or flash_attention_2, or switch packing off.")),
        (config.packing and config.objective in PREFERENCES, "packing",
         tr("Pairs of answers are compared side by side and can't be packed; switch it off.")),
    )
    return [Problem(sentence, field=name) for broken, name, sentence in rules if broken]
