"""The Results tab: all runs, their curves and notes, and several of them side by side."""
