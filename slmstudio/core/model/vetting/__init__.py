"""Whether a model folder can be trusted and its parts belong together, before anything of it is loaded. `entries` and
`settings` take hundredths of a second and are part of every reading of a model; the rest is done once, when it arrives.
"""
