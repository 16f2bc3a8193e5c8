"""Conversations, how tokens are drawn, blind votes, and corrections. No window, and no model is loaded here."""
