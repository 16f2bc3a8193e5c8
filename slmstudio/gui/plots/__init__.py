"""Plots: one curve widget with its axis and marks, and what is drawn with it."""
