"""What every tab may use: theme, background tasks, the session, words for runs. `widgets` has the controls."""
