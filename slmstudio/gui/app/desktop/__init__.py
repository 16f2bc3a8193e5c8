"""What the desktop shows while the window is behind others: notices, and the progress of the running job."""
