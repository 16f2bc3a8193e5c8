"""What looks after the machine, in the Training tab: why a run rests, how that is changed, and what a plan says."""
