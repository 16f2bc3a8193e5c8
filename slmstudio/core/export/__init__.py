"""What an export can make, and how other programs use it. The files are written in `worker.export`."""
