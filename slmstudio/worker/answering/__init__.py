"""Models, once loaded, that answer and score rows in batches: folders, adapters and GGUF files."""
