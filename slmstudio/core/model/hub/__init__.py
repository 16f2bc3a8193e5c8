"""The model hub as far as it can be known offline: names, wanted files, the token, and what is on disk."""
