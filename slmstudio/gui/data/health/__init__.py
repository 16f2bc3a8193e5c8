"""What the Data tab says of a dataset's health: findings, how they are mended, and how long the rows are in tokens."""
