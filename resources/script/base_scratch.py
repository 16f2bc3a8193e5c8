import torch
from transformers import AutoConfig, AutoModelForCausalLM


def load_base():
    """A new model with random weights: the base's architecture and vocabulary, the sizes in SIZES."""
    base = AutoConfig.from_pretrained(MODEL, local_files_only=True)
    kept = {key: value for key, value in base.to_dict().items() if key not in OF_THE_BASE_ALONE}
    config = type(base)(**{**kept, **SIZES, "max_position_embeddings": max(2048, MAX_LENGTH)})
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation=ATTENTION)
