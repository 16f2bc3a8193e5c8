"""Several cards or machines for one run: the choice in the plan, and the dialog that waits for other machines."""
