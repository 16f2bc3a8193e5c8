"""Exports: GGUF files of any type, merged folders and adapters; and importing a GGUF file."""
