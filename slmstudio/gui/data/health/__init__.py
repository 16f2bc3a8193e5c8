"""What the Data tab says of a dataset: findings, how they are mended, scripts, and how long the rows are in tokens."""
