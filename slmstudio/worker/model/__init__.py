"""Weights and vocabularies of models, of folders and GGUF files, a few rows at a time."""
