"""The Training tab: the plan, the run at work, its feed, the queue, and what comes after."""
