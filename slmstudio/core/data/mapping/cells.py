"""Lists and objects in the cells of a table: as JSON, or as Python prints them, as `datasets` and pandas do."""

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
_OBJECTS = re.compile(r"\} *\r?\n *\{")


def value_in(text: str) -> Any:
    """The list or object that a text holds, or the text itself."""
    if text.lstrip()[:1] not in ("[", "{"):
        return text
    value = parsed(text)
    return value if isinstance(value, (list, dict)) else text


def is_printed(value: Any) -> bool:
    """Whether a value is the text of a list that can't be read back."""
    return isinstance(value, str) and _LIST.match(value) is not None


def parsed(value: Any) -> Any:
    """The value that a text holds as JSON, or as Python prints it; any other as it is."""
    if isinstance(value, str):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return as_python(value)
    return value


def as_python(text: str) -> Any:
    """The value of a text as Python prints it; of objects that NumPy prints, without commas between them, too, and of
    quotes that were escaped twice. Otherwise the text."""
    if text.lstrip()[:1] not in ("{", "[") or "'" not in text or len(text) > LONGEST or _TWO_TEXTS.search(text):
        return text
    once = _OBJECTS.sub("}, {", text.strip())
    for each in (once, once.replace("\\\\'", "\\'")):
        try:
            return json.loads(json.dumps(ast.literal_eval(each)))  # nothing but what JSON can hold
        except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
            continue
    return text
