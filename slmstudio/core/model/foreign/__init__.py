"""What runs the chat template and the tokenizer that came with a model: a process of its own, with limits."""
