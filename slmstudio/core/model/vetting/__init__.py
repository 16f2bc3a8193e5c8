"""Whether a model folder can be trusted and its parts belong together: looked at when a model arrives, before anything
of it is loaded. What is cheap enough for every reading of a model is in `structure`."""
