"""The rows that a run learns: read, as tokens and kept so, put into micro-batches, and laid out for the model."""
