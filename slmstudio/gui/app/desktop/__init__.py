"""What the desktop shows while the window is behind others, and how the user wants to be told and shown things."""
