"""What the Data tab shows about a dataset: findings, how to fix them, scripts, and the rows' length in tokens."""
