"""Small models with random weights of the families that training knows, for comparisons with the stock code."""

from __future__ import annotations

import random
from typing import Any

import torch
from support.tiers import first_fast

from slmstudio.worker.kernels import packed
from slmstudio.worker.training.batches import IGNORED, PackedCollator, PaddedCollator

SIZES = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4,
         "num_key_value_heads": 2, "vocab_size": 300, "max_position_embeddings": 512}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {},
    "llama with biases": {"attention_bias": True, "mlp_bias": True},
    "mistral": {"sliding_window": 40},
    "qwen2": {"use_sliding_window": True, "sliding_window": 70, "max_window_layers": 1},
    "phi3": {"partial_rotary_factor": 0.5},
    "phi3 with a window": {"sliding_window": 33, "num_key_value_heads": 4},
    "qwen3": {"head_dim": 32},
    "gemma3_text": {"head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 33, "layer_types": [
        "sliding_attention", "full_attention", "sliding_attention"]},
}
"""What sets each apart in a decoder layer."""
OTHERS: dict[str, dict[str, Any]] = {
    "smollm3": {"no_rope_layer_interval": 2},
    "minicpm3": {"q_lora_rank": 32, "kv_lora_rank": 32, "qk_nope_head_dim": 24, "qk_rope_head_dim": 8, "v_head_dim": 16,
                 "num_key_value_heads": 4},  # values are narrower than keys
}
"""Families whose layers are more than `fast_layers` computes."""
LAYOUTS = first_fast([(dtype, family, collator) for dtype, collator in (
    (torch.float32, PackedCollator()), (torch.bfloat16, PaddedCollator(0)), (torch.bfloat16, PackedCollator()),
    (torch.float32, PaddedCollator(0))) for family in FAMILIES], len(FAMILIES) + 1)
"""Number format, family and layout of rows."""


def build(family: str, attention: str = "sdpa", dtype: torch.dtype = torch.float32, **lora: Any) -> Any:
    """A model with a random adapter on its frozen base; the same weights for the same family."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    packed.register()
    torch.manual_seed(0)
    config = AutoConfig.for_model(family.split()[0], **{**SIZES, **(FAMILIES | OTHERS)[family]}, bos_token_id=1,
                                  eos_token_id=2, pad_token_id=0)
    model = AutoModelForCausalLM.from_config(config, attn_implementation=attention).to(dtype)
    for name, parameter in model.named_parameters():
        if name.endswith("bias") or "norm" in name:
            mean = 0.0 if "gemma" in family else float("norm" in name)  # Gemma's norms add 1 themselves
            torch.nn.init.normal_(parameter, mean=mean, std=0.2)
    model = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, **{"target_modules": "all-linear", **lora}))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return model.train()


def gradient_tolerance(family: str, dtype: torch.dtype) -> float:
    """How far the gradients of two ways may lie apart, as a share of them all."""
    if dtype == torch.float32:
        return 1e-5
    return 4e-2 if "gemma" in family else 2e-2  # Gemma's six norms a layer round more: stock is 2.7% from fp32


def examples(lengths: tuple[int, ...] = (150, 3, 64, 97)) -> list[dict[str, Any]]:
    """Rows of random tokens whose last half is learned."""
    chance = random.Random(0)
    rows = []
    for row, length in enumerate(lengths):
        ids = [chance.randrange(3, 300) for _ in range(length)]
        labels = [token if i >= length // 2 else IGNORED for i, token in enumerate(ids)]
        rows.append({"input_ids": ids, "labels": labels, "row": row})
    return rows


def gradients(model: Any) -> torch.Tensor:
    """All gradients of what learns, one after another."""
    return torch.cat([p.grad.flatten().float() for p in model.parameters() if p.requires_grad])
