"""Lists in the cells of a table: as JSON, or as Python prints them, which is how `datasets` and pandas write CSV."""

from __future__ import annotations

import ast
import json
import re
from typing import Any

LONGEST = 1 << 20
"""Characters of a cell that is taken for what Python prints; its parser needs a hundred times as much memory."""
_TWO_TEXTS = re.compile(r"""(?<=['"])\s+(?=['"])""")
"""NumPy prints no commas; Python would read 'one' 'two' as one text."""
_LIST = re.compile(r"""\s*[\[{]\s*['"]""")


def value_in(text: str) -> Any:
    """The list or object that a text holds, or the text itself."""
    if text.lstrip()[:1] not in ("[", "{"):
        return text
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = _literal(text)
    return value if isinstance(value, (list, dict)) else text


def is_printed(value: Any) -> bool:
    """Whether a value is the text of a list that can't be read back."""
    return isinstance(value, str) and _LIST.match(value) is not None


def _literal(text: str) -> Any:
    if len(text) > LONGEST or _TWO_TEXTS.search(text):
        return None
    try:
        return json.loads(json.dumps(ast.literal_eval(text.strip())))  # nothing but what JSON can hold
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None
