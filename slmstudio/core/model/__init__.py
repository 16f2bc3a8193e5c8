"""Base models: facts, chat templates, token ids, memory needs, without loading weights."""
