"""What a user can do about a job that ended badly, by its kind: only some of them can be resumed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from slmstudio.core import program
from slmstudio.core.i18n import tr


def go_on(kind: str, folder: Path, left: Sequence[Path] = ()) -> str:
    """How the work is continued, and what of it is kept.

    Args:
        left: unfinished files that it has left.
    """
    if kind == "train":
        return tr("What was saved is kept. Resume continues from the last checkpoint.")
    if kind == "evaluate":
        return tr("Every answer that was written is kept. To continue, give the folder again: {command}",
                  command=program.command("evaluate", folder))
    if kind == "download":
        return tr("What was downloaded is kept. Start it again to download the rest.")
    if left:
        return tr("Its unfinished files couldn't be removed: {files}. Start it again.", files=", ".join(map(str, left)))
    return tr("No unfinished files were left behind. Start it again.")


def need_less(kind: str, loading: bool = False) -> str:
    """
    Args:
        loading: whether memory ran out while the model was loaded, for which batches and lengths don't matter.
    """
    if loading:
        return tr("Close other programs, or choose a smaller model.")
    if kind == "train":
        return tr("Close other programs, or lower the micro-batch size or the sequence length.")
    if kind == "evaluate":
        return tr("Close other programs, or choose a smaller batch size or model.")
    return tr("Close other programs.")
