"""The Data tab: which files the model should learn from, their rows, and what is wrong with them."""
