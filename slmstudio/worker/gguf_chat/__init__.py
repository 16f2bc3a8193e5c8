"""Chat with a GGUF model: loading, streaming, and the adapter at any strength."""
