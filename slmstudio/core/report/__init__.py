"""The report of a run: one page that someone who approves can read, and several runs side by side."""
