"""Training: data, model, trainer, checkpoints, and the result of a run."""
