"""The proof of an export: that a GGUF answers as the model that was trained."""
