"""The answers of an evaluation, row by row: the table, what filters it, one row side by side, its corrections, and
blind votes."""
