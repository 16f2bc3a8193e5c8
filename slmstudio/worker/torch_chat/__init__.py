"""Chat with a model folder or with what a run has just learned, in PyTorch: no GGUF file is needed. One answer at a
time; GGUF files are in `chat`."""
