"""The run that is followed, as state that widgets bind to. No widget."""
