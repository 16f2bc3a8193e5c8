"""What a field of a run can be: its kinds, the words of its choices, and which values exclude each other.

The fields themselves are in `run/config.py`.
"""
