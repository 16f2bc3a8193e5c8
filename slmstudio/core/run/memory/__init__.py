"""The memory that a run needs: estimated part by part before anything is loaded, and what would make it less."""
