"""Searches for better settings: which are tried, how they do, and what is left. What came of one is in `evaluation`."""
