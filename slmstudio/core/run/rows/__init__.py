"""The rows of a run: read once from the files that it names, and kept in its folder from then on."""
