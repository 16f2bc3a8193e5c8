"""Fetches base models. Its child process is one of the few that may use the network."""
