"""Whether this process lets a child run what came with a model (`template_client`). It imports nothing itself; the
window and the terminal do."""

_in_child = False


def use_child() -> None:
    """From now on a child runs templates and tokenizers. Called where window and terminal begin."""
    global _in_child
    _in_child = True


def in_child() -> bool:
    return _in_child
