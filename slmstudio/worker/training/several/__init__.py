"""Several ranks that train one run: which rows each gets, what they do together, and a model that they share.

Not here: who starts them, and who they are (`worker/runtime/ranks.py`).
"""
