"""Evaluations of a run: starting one, its scores, and its answers row by row. Shown in Results."""
