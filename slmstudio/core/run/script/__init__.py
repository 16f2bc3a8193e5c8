"""A run as a plain script of the usual libraries, with its rows beside it."""
