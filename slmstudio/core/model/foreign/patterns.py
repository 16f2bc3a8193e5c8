"""Regular expressions that came with an adapter or a run: only those that are certain to terminate."""

import re

MAX_PATTERN = 2_000
"""Characters of one."""


def is_quick(pattern: str) -> bool:
    """At most three parts of any length, none of a group: on names of layers that ends within a second."""
    return len(pattern) <= MAX_PATTERN and not re.search(r"\)[*+{]", pattern) and len(
        re.findall(r"(?<!\\)[*+]|\{", pattern)) <= 3
