"""Scores, their intervals, tests for chance, and verdicts in words: figures from answers, no files."""
