"""New versions of a dataset: rows that were fixed, edited or mixed are written to a file of their own. The file they
came from never changes. `store` names, writes and removes versions and says where each came from; `edits` gathers what
a user changes by hand, and combines several datasets into one. `appending` alone adds single rows to a file.
"""
