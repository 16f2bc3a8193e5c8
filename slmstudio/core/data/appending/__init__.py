"""Adding single rows to a file, completely or not at all, and undoing that."""
