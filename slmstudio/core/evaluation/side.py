"""One of several runs that are set against each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Progress = Callable[[int, int], None]
"""Called with (rows scored, rows)."""


@dataclass(frozen=True)
class ComparedRun:
    """
    Attributes:
        name: of the run; each has another one.
    """

    name: str
    folder: Path
