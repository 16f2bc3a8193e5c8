"""How a run is proposed: its fields one after another, each with a reason, from data, model and machine, or from the
run that it continues."""
