import torch
from transformers import AutoModelForCausalLM


def load_base():
    """The model, every weight of which learns; held in fp32, because bf16 cannot hold small updates."""
    return AutoModelForCausalLM.from_pretrained(
        START_FROM or MODEL,
        dtype=torch.float32,
        attn_implementation=ATTENTION,
        use_safetensors=True,
        local_files_only=True,
    )
