"""Runs: their configuration and how it is planned, their folder, checkpoints, history and queue."""
