"""Text of any origin, made safe to look at, and figures written without loss."""

from __future__ import annotations

import json
import math
import re
import time
from dataclasses import dataclass
from typing import Any

from slmstudio.core.files import finite
from slmstudio.core.i18n import KEY, ntr, number_text, tr

# -- What the report expects of files that it didn't write: what doesn't fit is left out, and named.

NUMBER, SCALAR, TREE = (int, float), (str, int, float), (dict, list)
SCORE = {"value": NUMBER, "low": NUMBER, "high": NUMBER, "rows": NUMBER}
COMPARISON = {"of": str, "with": str, "metric": str, "difference": NUMBER, "low": NUMBER, "high": NUMBER, "p": NUMBER,
              "rows": NUMBER, "rows_needed": NUMBER, "verdict": str, "sentence": str}
_GROUPS = {"*": {"*": SCORE}}
SCORES = {
    "test": {"path": str, "sha256": str, "rows": NUMBER, "kinds": {"*": NUMBER}, "trained_on": NUMBER},
    "models": [{"name": str, "rows": NUMBER, "skipped": NUMBER, "scores": {"*": SCORE}, "by_category": _GROUPS,
                "by_language": _GROUPS, "by_training": _GROUPS, "speed": {"mark": str, "*": NUMBER}}],
    "comparisons": [COMPARISON], "group_comparisons": {"*": {"*": [COMPARISON]}}, "remarks": [str], "judge": TREE,
    "benchmarks": [{"name": str, "title": str, "shots": NUMBER, "limit": NUMBER, "data": str, "sentence": str,
                    "models": [{"name": str, "accuracy": SCORE, "by_subject": {"*": SCORE}}],
                    "comparisons": [COMPARISON]}],
    "rivals": {"metric": str, "case": str, "sentence": str, "comparisons": [COMPARISON], "table": [
        {"name": str, "rival": str, "prompt_tokens": NUMBER, "seconds": NUMBER, "memory_bytes": NUMBER, **SCORE}]},
    "gain": {"metric": str, "exports": [{"name": str, "type": str, "path": str, "beside": bool, "*": NUMBER}]},
    "general": {"models": [{"name": str, "right": NUMBER, "questions": NUMBER, "by_language": {"*": NUMBER}}],
                "comparisons": [COMPARISON]},
}
"""scores.json of an evaluation."""
PARITY = {"type": str, "sha256": str, "verdict": str, "passed": bool, "failures": [SCALAR],
          "checks": [{"name": str, "figure": SCALAR, "limit": SCALAR, "passed": bool}]}
"""NAME.parity.json of an export."""
RECORD = {"hashes": {"*": SCALAR}, "versions": {"*": SCALAR}, "reasons": {KEY: TREE, "*": SCALAR}}
"""What run.json holds beside the fields."""
MOST_NAMED = 5


def fit(value: Any, shape: Any, lost: list[str], where: str = "") -> Any:
    """The value without what has another shape; null fits everywhere, and keys that no shape names stay.

    Args:
        shape: a type or several; [shape] for a list; {key: shape} for an object, "*" for all other keys.
        lost: paths of what was left out are added, such as "models.0.name".
        where: path of the value.

    Returns:
        The value; None if it doesn't fit as a whole.
    """
    if value is None:
        return None
    if isinstance(shape, dict) and isinstance(value, dict):
        found = {key: fit(each, shape.get(key, shape.get("*", object)), lost, f"{where}.{key}".lstrip("."))
                 for key, each in value.items()}
        return {key: each for key, each in found.items() if each is not None or value[key] is None}
    if isinstance(shape, list) and isinstance(value, list):
        fitted = [fit(each, shape[0], lost, f"{where}.{place}".lstrip(".")) for place, each in enumerate(value)]
        return [each for each in fitted if each is not None]
    if not isinstance(shape, dict | list) and isinstance(value, shape) and (
            shape in (object, bool, TREE) or not isinstance(value, bool)):
        return value
    lost.append(where or tr("everything"))
    return None


def sentence(file: str, lost: list[str]) -> str:
    """What is said about a file from which something was left out."""
    names = ", ".join(lost[:MOST_NAMED])
    if len(lost) > MOST_NAMED:
        names = ntr("{names} and {n:,} more", "{names} and {n:,} more", len(lost) - MOST_NAMED, names=names)
    return tr("{file} is damaged. Entries that made no sense are left out here: {names}.", file=file, names=names)


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


def rounded(value: Any) -> str:
    number = finite(value)
    return tr("not a number") if number is None else number_text(number, ",.3f")


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
