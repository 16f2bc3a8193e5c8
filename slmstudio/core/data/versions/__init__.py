"""New versions of a dataset: rows that were fixed, edited or mixed are written to a file of their own, and the file they
came from is never changed; only `appending` adds single rows to a file, and takes them back. `store` names, writes and removes versions and knows where each came from;
`edits` gathers what a user changes by hand, and combines several datasets into one.
"""
