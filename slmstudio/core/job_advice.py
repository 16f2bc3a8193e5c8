"""What a person can do about a job that ended badly, by its kind: only some of them can be resumed."""

from __future__ import annotations

from pathlib import Path


def go_on(kind: str, folder: Path) -> str:
    """How the work is taken up again, and what of it is kept."""
    if kind == "train":
        return "What was saved is kept. Resume goes on from the last checkpoint."
    if kind == "evaluate":
        return f"Every answer that was written is kept. Give the folder again to go on: slmstudio evaluate {folder}"
    return "Nothing half done was left behind. Start it again."


def need_less(kind: str) -> str:
    """How it needs less memory."""
    if kind == "train":
        return "Close other programs, or lower the micro-batch size or the sequence length."
    if kind == "evaluate":
        return "Close other programs, or choose a smaller batch size or model."
    return "Close other programs."
