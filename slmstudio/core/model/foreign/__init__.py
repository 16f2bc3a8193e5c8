"""What runs the chat template and the tokenizer that came with a model: within limits, and in a process of its own."""
