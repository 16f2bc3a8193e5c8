"""Single rows that are added to a file whole or not at all, and taken back."""
