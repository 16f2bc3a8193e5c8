"""GGUF files read by their headers: models, and LoRA adapters for them."""
