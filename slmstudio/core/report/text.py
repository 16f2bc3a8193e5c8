"""Text of any origin, made safe to look at, and figures written without loss."""

from __future__ import annotations

import json
import math
import re
import time
from dataclasses import dataclass
from typing import Any

from slmstudio.core.files import finite
from slmstudio.core.i18n import number_text, tr

LONGEST_TEXT = 1500
"""Characters of an answer, and of a name, that are shown."""
HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")
"""What isn't shown as it is: control characters apart from newline and tab, which a terminal would obey; half
characters; and bidi controls, which can make text look like another one. The marks that a script needs (LRM, RLM,
ZWJ) stay."""


@dataclass(frozen=True)
class Table:
    """A table of the page.

    Attributes:
        align: one letter a column: "l" a word or two, "w" words of any length, "r" figures, "n" figures on one line,
            "s" a score above its interval, "m" fixed width (hashes, paths).
        rows: cells; None shows as a dash.
    """

    head: tuple[str, ...]
    align: str
    rows: list[tuple[Any, ...]]


@dataclass(frozen=True)
class Cut:
    """A text as the page shows it, and a sentence when it doesn't show all of it."""

    text: str
    note: str = ""


def visible(text: str) -> str:
    """`text` with what one can't see written out: control characters, half characters, and bidi overrides.

    >>> visible("a\\u202eb\\x00")
    'a[U+202E]b[U+0000]'
    """
    return HIDDEN.sub(lambda found: f"[U+{ord(found[0]):04X}]", text)


def shortened(text: str, limit: int = LONGEST_TEXT) -> Cut:
    if len(text) <= limit:
        return Cut(text)
    return Cut(text[:limit] + "…",
               tr("Cut here: {shown:,} of {all:,} characters are shown.", shown=limit, all=len(text)))


def exact(value: Any) -> str | None:
    """A JSON value as it is, with nothing rounded.

    >>> exact(2e-4), exact(1024), exact(3.0), exact(True), exact(["a", "b"])
    ('0.0002', '1,024', '3', 'yes', 'a, b')
    """
    if value is None:
        return None
    if isinstance(value, bool):
        return tr("yes") if value else tr("no")
    if isinstance(value, int):
        return number_text(value)
    if isinstance(value, float):
        whole = math.isfinite(value) and value == int(value) and abs(value) < 1e15
        return number_text(value, ",.0f") if whole else repr(value)
    if isinstance(value, list):
        return ", ".join(exact(each) or tr("not set") for each in value) or tr("none")
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def rounded(value: Any, digits: int = 3) -> str:
    number = finite(value)
    return tr("not a number") if number is None else number_text(number, f",.{digits}f")


def moment(seconds: float) -> str:
    """A point in time with its zone: "2026-11-25 10:41:07 +0530"."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(seconds))
    except (OverflowError, ValueError, OSError):
        return tr("unknown time")


def flat(value: Any, name: str = "") -> list[tuple[str, Any]]:
    """All single values below a JSON value, each with its path of keys: [("parity.nmse", 1e-9)]."""
    if isinstance(value, dict):
        return [pair for key, each in value.items() for pair in flat(each, f"{name}.{key}" if name else str(key))]
    if isinstance(value, list) and any(isinstance(each, (dict, list)) for each in value):
        return [pair for number, each in enumerate(value) for pair in flat(each, f"{name}[{number}]")]
    return [(name, value)]
