"""What a person can do about a job that ended badly, by its kind: only some of them can be resumed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from slmstudio.core import program


def go_on(kind: str, folder: Path, left: Sequence[Path] = ()) -> str:
    """How the work is taken up again, and what of it is kept.

    Args:
        left: what it has left half done.
    """
    if kind == "train":
        return "What was saved is kept. Resume continues from the last checkpoint."
    if kind == "evaluate":
        return ("Every answer that was written is kept. To continue, give the folder again: "
                f"{program.command('evaluate', folder)}")
    if kind == "download":
        return "What was fetched is kept. Start it again to fetch the rest."
    if left:
        return f"What it left half done could not be removed: {', '.join(map(str, left))}. Start it again."
    return "Nothing half done was left behind. Start it again."


def need_less(kind: str) -> str:
    """How it needs less memory."""
    if kind == "train":
        return "Close other programs, or lower the micro-batch size or the sequence length."
    if kind == "evaluate":
        return "Close other programs, or choose a smaller batch size or model."
    return "Close other programs."
