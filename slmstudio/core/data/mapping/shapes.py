"""What a user said about columns, kept for other files that have the same ones.

The settings keep it as {columns: said}, the newest first; `said` is a line as `read_options.written` makes it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from slmstudio.core.data import read_options

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


def fits(said: str | None, columns: Collection[str]) -> bool:
    """Whether what was said about columns can be said about these, too: all that it names are there.

    >>> fits("instruction=A + B,output=C", ["C", "B", "A"]), fits("output=C,header=2", ["C"]), fits("text_by=line", [])
    (True, False, False)
    """
    named, options = read_options.parse(said)
    return bool(named) and options == read_options.NO_OPTIONS and all(
        column in columns or set(column.split(" + ")) <= set(columns) for column in named.values())
