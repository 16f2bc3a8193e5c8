"""Which rank learns which rows of a step: the micro-batches that one process would make, dealt out like cards.

So the rows of a step, what is random in a micro-batch and what a mean over a micro-batch is taken of don't depend on
the number of ranks.
"""

from __future__ import annotations

import math
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import torch
from datasets.table import InMemoryTable

from slmstudio.core.run import checkpoints
from slmstudio.worker.runtime import ranks

# -- What TRL notes of each micro-batch beside its loss, averaged over all ranks as one process would.

NOTED = ("_metrics", "_stored_metrics")
"""Where TRL's trainers keep lists of figures: by "train" or "eval", then by their names."""


class Figures:
    """A trainer's figures, taken from it after each micro-batch; their means are given back before they are logged."""

    def __init__(self) -> None:
        self._taken: dict[str, list[tuple[float, float]]] = defaultdict(list)

    def take(self, trainer: Any, mode: str, weight: float) -> None:
        """Take what was noted since the last time; a `weight` of 0 drops it."""
        for name, values in _noted(trainer)[mode].items():
            self._taken[name] += [(float(value), weight) for value in values if weight]
        _noted(trainer)[mode].clear()

    def give_back(self, trainer: Any, mode: str) -> None:
        """Give back the mean of each figure over all ranks."""
        merged: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for each in ranks.gather(dict(self._taken)):
            for name, values in each.items():
                merged[name] += values
        self._taken.clear()
        for name, values in merged.items():
            _noted(trainer)[mode][name] = [sum(value * weight for value, weight in values)
                                           / sum(weight for _, weight in values)]


def _noted(trainer: Any) -> Any:
    return next(getattr(trainer, name) for name in NOTED if hasattr(trainer, name))


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


class RankBatches(torch.utils.data.Sampler[list[int]]):
    """What one rank sends through the model in an epoch, share by share.

    Args:
        order: of the rows, as one process would learn them.
        micro_batch: rows of a micro-batch.
        accumulation: micro-batches of a step.
    """

    def __init__(self, order: Any, micro_batch: int, accumulation: int, rank: int, ranks: int, splits: bool):
        self.order, self.micro_batch, self.size = order, micro_batch, micro_batch * accumulation
        self.rank, self.ranks, self.splits = rank, ranks, splits

    def set_epoch(self, epoch: int) -> None:
        if hasattr(self.order, "set_epoch"):
            self.order.set_epoch(epoch)

    @property
    def steps(self) -> int:
        return math.ceil(len(self.order) / self.size)

    def __len__(self) -> int:
        return sum(len(self.shares(step)) for step in range(max(0, self.steps - 2), self.steps)) + \
            max(0, self.steps - 2) * len(self.shares(0))

    def __iter__(self) -> Iterator[list[int]]:
        rows = list(self.order)
        for start in range(0, len(rows), self.size):
            for share in self._mine(rows[start : start + self.size]):
                yield list(share.rows)

    def shares(self, step: int) -> list[Share]:
        """This rank's shares of a step of the epoch; their rows are places within the order."""
        start = step * self.size
        return self._mine(range(start, min(start + self.size, len(self.order))))

    def _mine(self, rows: Sequence[int]) -> list[Share]:
        return deal(rows, self.micro_batch, self.ranks, self.splits)[self.rank]
