"""From a row's columns to what is learned: which column holds what, found by looking at rows, and read by that."""
