"""Which rank learns which rows of a step: the micro-batches that one process would make, dealt out like cards.

So the rows of a step, what is random in a micro-batch and what a mean over a micro-batch is taken of don't depend on
the number of ranks.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import datasets
from datasets.table import InMemoryTable

from slmstudio.core.run import checkpoints
from slmstudio.core.run.config import RunConfig
from slmstudio.worker.runtime import ranks

# -- What the first rank has on its disk, for ranks on machines that don't have it.

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


@dataclass(frozen=True)
class Share:
    """What one rank sends through the model at once.

    Attributes:
        rows: positions in the dataset.
        micro_batch: which of the step's `micro_batches` they are of.
        part: how much of that they are. 0 for rows that only keep this rank in step with the others: they count for
            nothing.
    """

    rows: Sequence[int]
    micro_batch: int
    micro_batches: int
    part: float = 1.0


def deal(rows: Sequence[int], micro_batch: int, ranks: int, splits: bool) -> list[list[Share]]:
    """The shares of each rank in one step, the same number for each.

    Args:
        rows: of the step, in their order.
        splits: whether a micro-batch may be divided if there are fewer of them than ranks.
    """
    whole = [rows[start : start + micro_batch] for start in range(0, len(rows), micro_batch)]
    count = len(whole)
    idle = Share(rows[-1:], count - 1, count, 0.0)
    if not splits or count >= ranks:
        slots = range(math.ceil(count / ranks))
        return [[Share(whole[at], at, count) if (at := slot * ranks + rank) < count else idle for slot in slots]
                for rank in range(ranks)]
    found = []
    for rank in range(ranks):
        at, which = rank % count, rank // count
        parts, size = len(range(at, ranks, count)), len(whole[at])
        part = whole[at][size * which // parts : size * (which + 1) // parts]
        found.append([Share(part, at, count, len(part) / size) if len(part) else idle])
    return found


def may_split(config: RunConfig, world_size: int) -> bool:
    """Whether a micro-batch may be divided among ranks where there are fewer of them than ranks.

    Not where its loss is more than a sum over its rows. What is random is another thing in a part than in the whole, so
    with dropout it is divided only where some ranks would never have anything to do.
    """
    random = (config.has_adapter and config.lora_dropout > 0) or config.neftune_noise_alpha > 0
    return config.objective not in ("orpo", "kto") and \
        (not random or config.gradient_accumulation_steps < world_size)
