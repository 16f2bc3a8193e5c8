"""Labels that say whether an answer is good, in every spelling that files have."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from slmstudio.core.data import column_names as names

MOST_NUMBERS = 0.1
"""Share of numbers but 0 and 1 from which on a column holds classes or marks."""
MISTAKES = 0.5
"""Share of other values from which on a column says something else: before that, rows with these are at fault."""


def is_good(value: Any) -> bool | None:
    """What a label says; None if it says neither."""
    if isinstance(value, bool):
        return value
    if isinstance(value, (int, float)):
        return True if value == 1 else False if value in (0, -1) else None
    if not isinstance(value, str):
        return None
    word = value.strip().casefold().rstrip("!.").replace(" ", "_")
    return True if word in names.GOOD else False if word in names.BAD else None


def are_labels(values: Iterable[Any], bad: bool = False) -> bool:
    """Whether most values of a column say that an answer is good or bad; null says nothing.

    Args:
        bad: whether there must be bad ones.
    """
    values = [value for value in values if value is not None and value != ""]
    said = [is_good(value) for value in values]
    others = sum(each is None and isinstance(value, (int, float)) for each, value in zip(said, values, strict=True))
    if others > max(2, MOST_NUMBERS * len(said)):
        return False  # classes or marks
    return bool(said) and (not bad or False in said) and said.count(None) <= MISTAKES * len(said)


def counted_from(values: Iterable[Any]) -> int | None:
    """What number the winners of a file give to the first of two answers, 0 or 1; None if all are 1, which may be
    either."""
    said = {_word(value) for value in values}
    return 1 if "2" in said else None if said == {"1"} else 0


def _word(value: Any) -> str:
    return (f"{value:g}" if isinstance(value, (int, float)) else str(value)).strip().casefold()


def winner_of(value: Any, marks: tuple[str, str]) -> int | None:
    """Which of two answers a value names, 0 or 1; -1 for a tie, None if it names none."""
    if isinstance(value, bool):
        return None
    word = _word(value)
    if word in ("equal", "draw", "same", "none") or word.startswith(("tie", "both", "neither")):
        return -1
    found = re.search(r"(?:^|[\s_-])([ab012])$", word)
    return marks.index(found[1]) if found and found[1] in marks else None
