from transformers import AutoModelForCausalLM


def load_base():
    """The base model, which stays as it is, held in PRECISION."""
    return AutoModelForCausalLM.from_pretrained(
        MODEL, dtype=DTYPES[PRECISION], attn_implementation=ATTENTION, use_safetensors=True, local_files_only=True
    )
