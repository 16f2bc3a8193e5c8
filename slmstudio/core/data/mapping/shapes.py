"""What a user said about columns, kept for other files that have the same ones.

The settings keep it as {columns: said}, the newest first; `said` is a line as `given.written` makes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

MOST = 50


def key(columns: Iterable[str]) -> str:
    """A set of columns as one text, whatever their order.

    >>> key(["b", "a"]) == key(("a", "b"))
    True
    """
    return "\n".join(sorted(columns))


def said_of(known: Mapping[str, str], columns: Iterable[str]) -> str:
    """What was said about a file with these columns; "" if nothing was."""
    return known.get(key(columns), "")


def with_said(known: Mapping[str, str], columns: Iterable[str], said: str) -> dict[str, str]:
    """`known` with this in front; without the columns where `said` is empty. The oldest beyond `MOST` are forgotten."""
    here = key(columns)
    rest = {each: text for each, text in known.items() if each != here}
    found = {here: said, **rest} if said and here else rest
    return dict(list(found.items())[:MOST])
