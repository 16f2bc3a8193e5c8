"""Blind votes on answers, of Chat and of evaluations: one file, what it says about two models, and pairs to learn
from."""
