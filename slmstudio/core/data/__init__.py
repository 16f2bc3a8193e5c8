"""Datasets: reading, checking and splitting them, and adding rows. Test sets are in `core.evaluation.testset`."""
