"""Exports of a run: making them, their proofs, and using them elsewhere. Shown in Results."""
