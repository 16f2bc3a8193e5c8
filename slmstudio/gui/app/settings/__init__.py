"""The settings: the dialog, and its rows that are more than a field."""
