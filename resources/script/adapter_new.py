from peft import LoraConfig


def load_model():
    """The model, and the configuration of the adapter that the trainer puts on it."""
    adapter = LoraConfig(
        r=LORA_RANK,
        lora_alpha=LORA_ALPHA,
        lora_dropout=LORA_DROPOUT,
        target_modules=TARGET_MODULES,
        use_dora=USE_DORA,
        use_rslora=USE_RSLORA,
        task_type="CAUSAL_LM",
    )
    return load_base(), adapter
