"""The Chat tab: talking to exported models, one or several at once."""
