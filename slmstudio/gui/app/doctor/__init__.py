"""The doctor in the window: a notice at the start, and the dialog with everything that was found."""
