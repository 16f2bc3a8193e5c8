"""Benchmarks of the field through lm_eval, and fetching their data."""
