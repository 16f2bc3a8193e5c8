"""Paths and texts as shells take them."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence


def posix(word: str) -> str:
    """One word for sh, bash and zsh; any script and any character."""
    return shlex.quote(word)


def windows(word: str) -> str:
    """One word for PowerShell and cmd.

    Both hand the line to the program, which takes it apart by Microsoft's rules: quotes around what has spaces or
    letters that the shells know. `%NAME%` in cmd and `$name` in PowerShell are replaced even there; no quoting serves
    both shells.
    """
    from subprocess import list2cmdline  # on Windows alone

    quoted = list2cmdline([word])
    special = set("&|<>^();,'`@{}[]$%!#~") & set(word)
    if not special or quoted.startswith('"'):
        return quoted
    backslashes = len(word) - len(word.rstrip("\\"))  # before a quote they must be doubled
    return '"' + quoted + "\\" * backslashes + '"'


def command(words: Sequence[str], system: str = os.name) -> str:
    """A line for the shell of a system.

    Args:
        system: "nt" is Windows; anything else has a POSIX shell.
    """
    return " ".join(map(windows if system == "nt" else posix, words))
