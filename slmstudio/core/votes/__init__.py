"""Blind votes on answers, of Chat and of evaluations: one file, what it says of two models, and pairs to learn from."""
