"""What is known about an evaluation's items beside themselves: items.json, written before items.jsonl.

    {"sha256": of the test file that they were read from, "rows": how many that file has,
     "thinks": whether the models are to think before they answer}

An evaluation from before this file existed has none: its test file isn't known, and its models answered as their
templates say.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from slmstudio.core import files

ABOUT = "items.json"


def dump(digest: str, rows: int, thinks: bool) -> bytes:
    return files.dump_pretty({"sha256": digest, "rows": rows, "thinks": thinks}).encode()


def sha256(folder: Path) -> str | None:
    """The hash of the test file that was asked; None if it isn't known."""
    found = _read(folder).get("sha256")
    return found if isinstance(found, str) else None


def rows(folder: Path) -> int | None:
    """How many rows of the test file could have been asked; None if it isn't known."""
    found = _read(folder).get("rows")
    return found if isinstance(found, int) else None


def thinks(folder: Path) -> bool:
    """Whether the models are to think, where they can."""
    return bool(_read(folder).get("thinks", True))


def _read(folder: Path) -> dict[str, Any]:
    return files.read_json(folder / ABOUT) or {}
