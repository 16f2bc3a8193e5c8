"""Names of runs: what a name may be, and how one that is taken is told apart. The name itself is kept in run.json."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

LONGEST = 100
"""Characters; a longer one is a note."""


def cleaned(name: str) -> str:
    """A name as it is kept: composed, in one line, without spaces around it.

    >>> cleaned("  help   desk ")
    'help desk'
    """
    return " ".join(unicodedata.normalize("NFC", name).split())


def following(name: str) -> str:
    """The name of the run after this one.

    >>> following("helpdesk"), following("helpdesk-2")
    ('helpdesk-2', 'helpdesk-3')
    """
    match = re.fullmatch(r"(.*)-([1-9]\d{0,3})", name)
    return f"{match[1]}-{int(match[2]) + 1}" if match else f"{name}-2"


def is_taken(name: str, taken: Iterable[str]) -> bool:
    """Whether another run has this name, whatever its case."""
    return cleaned(name).casefold() in {cleaned(each).casefold() for each in taken}


def free(name: str, taken: Iterable[str]) -> str:
    """The name itself, or the next one after it that no other run has.

    >>> free("helpdesk", ["Helpdesk", "helpdesk-2"]), free("helpdesk", [])
    ('helpdesk-3', 'helpdesk')
    """
    known = list(taken)
    while is_taken(name, known):
        name = following(name)
    return name
