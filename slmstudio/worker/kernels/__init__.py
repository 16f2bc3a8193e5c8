"""Faster layers, attention and losses, each equal to the plain computation. They know nothing of runs."""
