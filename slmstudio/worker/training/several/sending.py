"""What the first rank has on its disk, for ranks on machines that don't have it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import datasets
from datasets.table import InMemoryTable

from slmstudio.core.run import checkpoints
from slmstudio.worker.runtime import ranks

PIECE = 64 * 1024**2
"""Bytes of a file that are sent at once."""


def in_memory(rows: datasets.Dataset) -> datasets.Dataset:
    """The rows themselves, where they were mapped from a file before."""
    return datasets.Dataset(InMemoryTable(rows.data.table), info=rows.info)


@contextmanager
def on_every_machine(checkpoint: Path | None) -> Iterator[Path | None]:
    """The checkpoint's folder, on each rank: the very one where it is in reach, else a copy that lasts as long as the
    block. Every rank must enter it.

    Args:
        checkpoint: as the first rank has it, on each rank; None if there is none.
    """
    digest = _digest(checkpoint) if checkpoint is not None else None
    if checkpoint is None or len(set(ranks.gather(digest))) == 1:
        yield checkpoint
        return
    with tempfile.TemporaryDirectory() as copy:
        _send(checkpoint, Path(copy))
        yield checkpoint if ranks.is_first() else Path(copy)


def _digest(checkpoint: Path) -> bytes | None:
    try:
        return (checkpoint / checkpoints.MANIFEST_DIGEST).read_bytes()
    except OSError:  # it isn't there, or out of this process's reach
        return None


def _send(checkpoint: Path, copy: Path) -> None:
    """Copy each file of a checkpoint to all other ranks."""
    names = [path.relative_to(checkpoint) for path in sorted(checkpoint.rglob("*")) if path.is_file()] \
        if ranks.is_first() else []
    for name in ranks.broadcast(names):
        if ranks.is_first():
            with (checkpoint / name).open("rb") as file:
                while ranks.broadcast(file.read(PIECE)):
                    pass
            continue
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        with (copy / name).open("wb") as file:
            while piece := ranks.broadcast(None):
                file.write(piece)
