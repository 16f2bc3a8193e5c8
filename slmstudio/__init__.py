"""SLM Studio: fine-tune a small language model on your own machine, then talk to it."""

__version__ = "0.1.0"
