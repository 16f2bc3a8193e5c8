"""The report of a run: one page that someone who approves can read, and that says every figure of the run's files."""
