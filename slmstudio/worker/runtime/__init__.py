"""What every worker process has: its job, its child processes, its channel, and its sensors."""
