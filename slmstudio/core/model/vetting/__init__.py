"""Whether a model folder can be trusted and is whole: looked at before anything of it is loaded."""
