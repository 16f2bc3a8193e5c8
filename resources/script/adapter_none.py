def load_model():
    """The model; there is no adapter."""
    return load_base(), None
