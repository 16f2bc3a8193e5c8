"""The terminal: a module for each group of commands. It parses, calls core and prints; nothing else."""
