"""The Training tab: the plan, the current run, its feed, the queue, and what comes after."""
